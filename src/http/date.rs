//! Dates as text: the `Date` field of a response and the time stamp of a log line.
//!
//! Owns the calendar arithmetic (proleptic Gregorian, UTC, no leap seconds). Never asks a clock: callers bring Unix
//! milliseconds.

/// The last millisecond that four digits of a year can show, 9999-12-31T23:59:59.999Z. Later times are shown as this one.
const LAST_MS: u64 = 253_402_300_799_999;
/// Days from 1601-01-01, where a cycle of 400 years begins, to 1970-01-01.
const DAYS_1601_TO_1970: u64 = 134_774;
const DAYS_400_YEARS: u64 = 146_097;
const DAYS_100_YEARS: u64 = 36_524;
const DAYS_4_YEARS: u64 = 1_461;
const MONTHS: [(&str, u64); 12] = [
    ("Jan", 31),
    ("Feb", 28),
    ("Mar", 31),
    ("Apr", 30),
    ("May", 31),
    ("Jun", 30),
    ("Jul", 31),
    ("Aug", 31),
    ("Sep", 30),
    ("Oct", 31),
    ("Nov", 30),
    ("Dec", 31),
];
/// 1970-01-01 was a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// An IMF-fixdate (RFC 9110 section 5.6.7): 29 bytes such as `Fri, 20 Nov 2026 21:28:42 GMT`. Made once a second, not per
/// response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpDate([u8; 29]);

impl HttpDate {
    /// The date of a Unix time in milliseconds, cut to the second. Times after the year 9999 give its last second.
    pub fn from_unix_ms(unix_ms: u64) -> Self {
        let t = Civil::from_unix_ms(unix_ms);
        let text = t
            .weekday
            .bytes()
            .chain(*b", ")
            .chain(decimal::<2>(t.day))
            .chain(*b" ")
            .chain(t.month_name.bytes())
            .chain(*b" ")
            .chain(decimal::<4>(t.year))
            .chain(*b" ")
            .chain(decimal::<2>(t.hour))
            .chain(*b":")
            .chain(decimal::<2>(t.minute))
            .chain(*b":")
            .chain(decimal::<2>(t.second))
            .chain(*b" GMT");
        let mut bytes = [b' '; 29];
        for (slot, byte) in bytes.iter_mut().zip(text) {
            *slot = byte;
        }
        Self(bytes)
    }

    /// The 29 bytes of the date.
    pub fn as_bytes(&self) -> &[u8; 29] {
        &self.0
    }
}

/// A Unix time in milliseconds as log lines show it: `2026-11-20T21:28:42.007Z` (RFC 3339). Times after the year 9999 give
/// its last millisecond.
pub fn iso8601(unix_ms: u64) -> String {
    let t = Civil::from_unix_ms(unix_ms);
    decimal::<4>(t.year)
        .into_iter()
        .chain(*b"-")
        .chain(decimal::<2>(t.month))
        .chain(*b"-")
        .chain(decimal::<2>(t.day))
        .chain(*b"T")
        .chain(decimal::<2>(t.hour))
        .chain(*b":")
        .chain(decimal::<2>(t.minute))
        .chain(*b":")
        .chain(decimal::<2>(t.second))
        .chain(*b".")
        .chain(decimal::<3>(t.millisecond))
        .chain(*b"Z")
        .map(char::from)
        .collect()
}

/// A point in time taken apart. `month` and `day` count from one.
struct Civil {
    year: u64,
    month: u64,
    month_name: &'static str,
    day: u64,
    weekday: &'static str,
    hour: u64,
    minute: u64,
    second: u64,
    millisecond: u64,
}

impl Civil {
    fn from_unix_ms(unix_ms: u64) -> Self {
        let ms = unix_ms.min(LAST_MS);
        let days = ms / 86_400_000;
        let (year, day_of_year) = year_and_day(days);
        let (month, month_name, day) = month_and_day(year, day_of_year);
        let weekday = WEEKDAYS.iter().cycle().nth((days % 7) as usize).copied().unwrap_or_default();
        Self {
            year,
            month,
            month_name,
            day,
            weekday,
            hour: ms / 3_600_000 % 24,
            minute: ms / 60_000 % 60,
            second: ms / 1_000 % 60,
            millisecond: ms % 1_000,
        }
    }
}

/// The year, and the day within it counted from zero, of a day counted from 1970-01-01. Each step takes the whole spans of
/// one length off; the last century of a cycle and the last year of four are one day longer, hence the two caps.
fn year_and_day(days_since_1970: u64) -> (u64, u64) {
    let days = days_since_1970.saturating_add(DAYS_1601_TO_1970);
    let cycles = days / DAYS_400_YEARS;
    let days = days % DAYS_400_YEARS;
    let centuries = (days / DAYS_100_YEARS).min(3);
    let days = days.saturating_sub(centuries.saturating_mul(DAYS_100_YEARS));
    let fours = days / DAYS_4_YEARS;
    let days = days % DAYS_4_YEARS;
    let ones = (days / 365).min(3);
    let day_of_year = days.saturating_sub(ones.saturating_mul(365));
    let year = 1601_u64
        .saturating_add(cycles.saturating_mul(400))
        .saturating_add(centuries.saturating_mul(100))
        .saturating_add(fours.saturating_mul(4))
        .saturating_add(ones);
    (year, day_of_year)
}

/// The month from one, its name, and the day of the month from one.
fn month_and_day(year: u64, day_of_year: u64) -> (u64, &'static str, u64) {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut rest = day_of_year;
    for (number, (name, days)) in (1..).zip(MONTHS) {
        let days = if leap && number == 2 { 29 } else { days };
        if rest < days {
            return (number, name, rest.saturating_add(1));
        }
        rest = rest.saturating_sub(days);
    }
    (12, "Dec", 31)
}

/// The last `N` decimal digits of the value, with leading zeros.
fn decimal<const N: usize>(value: u64) -> [u8; N] {
    let mut digits = [b'0'; N];
    let mut rest = value;
    for slot in digits.iter_mut().rev() {
        *slot = b'0'.saturating_add((rest % 10) as u8);
        rest /= 10;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(unix_ms: u64) -> String {
        String::from_utf8(HttpDate::from_unix_ms(unix_ms).as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn known_dates() {
        // Seconds taken from `date -u -d @N`.
        let table = [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT", "1970-01-01T00:00:00.000Z"),
            (68_169_600, "Tue, 29 Feb 1972 00:00:00 GMT", "1972-02-29T00:00:00.000Z"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37.000Z"),
            (946_684_799, "Fri, 31 Dec 1999 23:59:59 GMT", "1999-12-31T23:59:59.000Z"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT", "2000-02-29T00:00:00.000Z"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT", "2000-03-01T00:00:00.000Z"),
            (978_220_800, "Sun, 31 Dec 2000 00:00:00 GMT", "2000-12-31T00:00:00.000Z"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT", "2024-02-29T00:00:00.000Z"),
            (1_735_603_200, "Tue, 31 Dec 2024 00:00:00 GMT", "2024-12-31T00:00:00.000Z"),
            (1_795_210_122, "Fri, 20 Nov 2026 21:28:42 GMT", "2026-11-20T21:28:42.000Z"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT", "2100-03-01T00:00:00.000Z"),
            (4_107_456_000, "Sun, 28 Feb 2100 00:00:00 GMT", "2100-02-28T00:00:00.000Z"),
            (13_574_563_200, "Tue, 29 Feb 2400 00:00:00 GMT", "2400-02-29T00:00:00.000Z"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT", "9999-12-31T23:59:59.000Z"),
        ];
        for (seconds, fixdate, iso) in table {
            assert_eq!(http(seconds * 1000), fixdate);
            assert_eq!(iso8601(seconds * 1000), iso);
        }
    }

    #[test]
    fn milliseconds_are_cut_in_a_fixdate_and_shown_in_a_log_line() {
        assert_eq!(http(1_999), "Thu, 01 Jan 1970 00:00:01 GMT");
        assert_eq!(iso8601(1_999), "1970-01-01T00:00:01.999Z");
        assert_eq!(iso8601(2_007), "1970-01-01T00:00:02.007Z");
    }

    #[test]
    fn times_after_the_year_9999_saturate() {
        for unix_ms in [LAST_MS, LAST_MS + 1, u64::MAX] {
            assert_eq!(http(unix_ms), "Fri, 31 Dec 9999 23:59:59 GMT");
            assert_eq!(iso8601(unix_ms), "9999-12-31T23:59:59.999Z");
        }
        assert_eq!(iso8601(LAST_MS - 1), "9999-12-31T23:59:59.998Z");
    }

    #[test]
    fn every_day_until_9999_follows_the_day_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..=LAST_MS / 86_400_000 {
            let civil = Civil::from_unix_ms(days * 86_400_000);
            assert_eq!((civil.year, civil.month, civil.day), (year, month, day));
            assert_eq!(civil.weekday, WEEKDAYS[(days % 7) as usize]);
            let length = match month {
                4 | 6 | 9 | 11 => 30,
                2 if year % 400 == 0 || (year % 4 == 0 && year % 100 != 0) => 29,
                2 => 28,
                _ => 31,
            };
            day += 1;
            if day > length {
                day = 1;
                month += 1;
            }
            if month > 12 {
                month = 1;
                year += 1;
            }
        }
        assert_eq!((year, month, day), (10_000, 1, 1));
    }
}
