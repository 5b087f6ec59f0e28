use super::*;
use crate::framing::Wire;
use crate::http::origin::Grant;

const NOW: u64 = 1_000;

struct Bench {
    origins: OriginRule,
    date: HttpDate,
}

impl Bench {
    fn new() -> Self {
        Self { origins: OriginRule::default(), date: HttpDate::from_unix_ms(0) }
    }
    fn at(&self, now_ms: u64) -> Env<'_> {
        let Self { origins, date } = self;
        Env { date, origins, now_ms, stream_ms: 300_000, share_bytes: 1_000_000, ending: false }
    }
}

const TO: ReplyTo = ReplyTo { wire: Wire::Json, grant: Grant::SameOrigin, secure: false, chunks: true };

fn body(conn: &Conn) -> String {
    let mut slices = [IoSlice::new(&[]); 8];
    let used = conn.slices(&mut slices);
    let bytes: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
    let text = String::from_utf8(bytes).unwrap();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn reply(json: &str) -> Answer {
    let mut answer = Answer::default();
    answer.replies.push(|out| out.extend_from_slice(json.as_bytes()));
    answer
}

#[test]
fn a_connection_stays_small() {
    // Tens of thousands of these are idle at any time; growth here is a decision.
    assert!(size_of::<Conn>() <= 168, "{}", size_of::<Conn>());
}

#[test]
fn a_batch_that_has_to_wait_is_answered_as_a_whole_and_nothing_is_read_before() {
    let bench = Bench::new();
    let mut conn = Conn::new(None, NOW);
    conn.request_taken(bench.at(NOW));
    let waits = Answer { deferred: Some(7), ..reply("1") };
    conn.answer(&waits, TO, Persistence::KeepAlive, bench.at(NOW));
    assert_eq!((conn.pending(), conn.is_waiting(), conn.tickets()), (0, true, &[][..]));
    assert_eq!(conn.deadline(&Limits::default(), bench.at(NOW)), None);
    assert!(!conn.may_parse(&Limits::default(), bench.at(NOW)), "the next request waits");
    assert!(!conn.answer_late(8, &reply("x"), bench.at(NOW)), "what is for another one is not for it");
    assert!(conn.answer_late(7, &reply("2"), bench.at(NOW)));
    assert_eq!(body(&conn), "[2]");
    assert!(!conn.is_waiting() && !conn.answer_late(7, &reply("3"), bench.at(NOW)));
}

#[test]
fn a_parked_poll_has_no_deadline_and_an_idle_connection_has() {
    let (bench, limits) = (Bench::new(), Limits::default());
    let mut conn = Conn::new(None, NOW);
    assert_eq!(conn.deadline(&limits, bench.at(NOW)), Some(NOW + limits.head_ms), "one that is silent is not idle");
    conn.request_taken(bench.at(NOW));
    assert_eq!(conn.deadline(&limits, bench.at(NOW)), Some(NOW + limits.idle_ms));
    let mut answer = Answer::default();
    answer.replies.push_waiting(Ticket(7));
    conn.answer(&answer, TO, Persistence::KeepAlive, bench.at(NOW));
    assert_eq!((conn.parked(), conn.deadline(&limits, bench.at(NOW))), (Some(Ticket(7)), None));
    assert!(conn.fill(Ticket(7), &reply("1"), bench.at(NOW + 5)));
    assert_eq!(conn.deadline(&limits, bench.at(NOW)), Some(NOW + 5 + limits.write_ms));
    assert!(conn.sent(conn.pending(), &limits, bench.at(NOW + 6)));
    assert_eq!(conn.deadline(&limits, bench.at(NOW)), Some(NOW + 6 + limits.idle_ms));
}

#[test]
fn deadlines_of_head_and_body_are_absolute() {
    let (bench, limits) = (Bench::new(), Limits::default());
    let mut conn = Conn::new(None, NOW);
    conn.progressed(Progress::InHead, bench.at(NOW + 10));
    conn.progressed(Progress::InHead, bench.at(NOW + 4_000));
    assert_eq!(
        conn.deadline(&limits, bench.at(NOW)),
        Some(NOW + limits.head_ms),
        "that of the first runs from the start"
    );
    conn.request_taken(bench.at(NOW + 4_010));
    conn.progressed(Progress::InHead, bench.at(NOW + 4_020));
    conn.progressed(Progress::InHead, bench.at(NOW + 4_200));
    assert_eq!(conn.deadline(&limits, bench.at(NOW)), Some(NOW + 4_020 + limits.head_ms), "more bytes buy no time");
    conn.progressed(Progress::HeadDone { expects_continue: false }, bench.at(NOW + 4_500));
    conn.progressed(Progress::InBody, bench.at(NOW + 9_000));
    assert_eq!(conn.deadline(&limits, bench.at(NOW)), Some(NOW + 4_500 + limits.body_ms));
    assert_eq!(conn.timed_out(&limits, bench.at(NOW + 4_500 + limits.body_ms)), Overdue::Slow);
}

#[test]
fn limit_pipelined_requests() {
    let (bench, limits) = (Bench::new(), Limits::default());
    let mut conn = Conn::new(None, NOW);
    for answered in 0..limits.pipelined_requests {
        assert!(conn.may_parse(&limits, bench.at(NOW)), "{answered} answers are unwritten");
        conn.answer(&reply("1"), TO, Persistence::KeepAlive, bench.at(NOW));
    }
    assert!(!conn.may_parse(&limits, bench.at(NOW)));
    assert!(!conn.sent(1, &limits, bench.at(NOW)), "one byte is not all");
    assert!(!conn.may_parse(&limits, bench.at(NOW)));
    assert!(conn.sent(conn.pending(), &limits, bench.at(NOW)));
    assert!(conn.may_parse(&limits, bench.at(NOW)));
}

#[test]
fn limit_output_bytes() {
    let (bench, limits) = (Bench::new(), Limits::default());
    let env = Env { share_bytes: 1_000, ..bench.at(NOW) };
    for (fill, parses) in [(999, true), (1_000, false), (1_001, false)] {
        let mut conn = Conn::new(None, NOW);
        conn.output.buffer().extend(vec![0; fill]);
        assert_eq!(conn.may_parse(&limits, env), parses, "{fill}");
        conn.sent(fill, &limits, env);
        assert!(conn.may_parse(&limits, env));
    }
}

#[test]
fn limit_linger_bytes() {
    let bench = Bench::new();
    for (bytes, step) in [
        (limits::LINGER_BYTES - 1, Step::Wait),
        (limits::LINGER_BYTES, Step::Wait),
        (limits::LINGER_BYTES + 1, Step::Close),
    ] {
        let mut conn = Conn::new(None, NOW);
        assert_eq!(conn.timed_out(&Limits::default(), bench.at(NOW)), Overdue::Nothing);
        assert_eq!(conn.step(), Step::Close, "an idle connection is closed in silence");
        conn = Conn::new(None, NOW);
        conn.progressed(Progress::InHead, bench.at(NOW));
        assert_eq!(conn.timed_out(&Limits::default(), bench.at(NOW + 5_000)), Overdue::Slow);
        conn.fail(&Refusal::too_slow(), bench.at(NOW));
        assert_eq!(conn.step(), Step::Write);
        conn.sent(conn.pending(), &Limits::default(), bench.at(NOW));
        assert_eq!(conn.step(), Step::ShutdownWrite);
        conn.write_shut(bench.at(NOW));
        conn.discard(bytes);
        assert_eq!(conn.step(), step, "{bytes}");
    }
}

#[test]
fn limit_write_bytes() {
    let (bench, limits) = (Bench::new(), Limits::default());
    for (taken, progress) in
        [(limits.write_bytes - 1, false), (limits.write_bytes, true), (limits.write_bytes + 1, true)]
    {
        let mut conn = Conn::new(None, NOW);
        conn.request_taken(bench.at(NOW));
        conn.begin_output(bench.at(NOW));
        conn.output.buffer().extend(vec![0; 3 * limits.write_bytes]);
        // Byte by byte or at once: what counts is how much since the last progress.
        conn.sent(taken - 10, &limits, bench.at(NOW + 1));
        assert_eq!(conn.deadline(&limits, bench.at(NOW)), Some(NOW + limits.write_ms), "{taken}");
        conn.sent(10, &limits, bench.at(NOW + 3));
        let since = if progress { NOW + 3 } else { NOW };
        assert_eq!(conn.deadline(&limits, bench.at(NOW)), Some(since + limits.write_ms), "{taken}");
        conn.sent(1, &limits, bench.at(NOW + 4));
        let since = if progress { NOW + 3 } else { NOW + 4 };
        assert_eq!(
            conn.deadline(&limits, bench.at(NOW)),
            Some(since + limits.write_ms),
            "counted from the last progress on: {taken}"
        );
    }
}

#[test]
fn an_answer_that_is_not_taken_ends_the_connection() {
    let (bench, limits) = (Bench::new(), Limits::default());
    let mut conn = Conn::new(None, NOW);
    conn.request_taken(bench.at(NOW));
    conn.answer(&reply("1"), TO, Persistence::KeepAlive, bench.at(NOW));
    conn.sent(1, &limits, bench.at(NOW + 3));
    let due = conn.deadline(&limits, bench.at(NOW)).unwrap();
    assert_eq!(due, NOW + limits.write_ms, "a byte is no progress");
    assert_eq!(conn.timed_out(&limits, bench.at(due)), Overdue::Stuck);
    assert_eq!(conn.step(), Step::Close);
}

#[test]
fn an_output_that_is_in_the_way_buys_no_time() {
    let (bench, limits) = (Bench::new(), Limits::default());
    let at = |now_ms| Env { share_bytes: 1_000, ..bench.at(now_ms) };
    let mut conn = Conn::new(None, NOW);
    conn.progressed(Progress::InBody, at(NOW));
    let mut now_ms = NOW + 4_000;
    for _ in 0..20 {
        conn.begin_output(at(now_ms));
        conn.output.buffer().extend(vec![0; 1_000]);
        assert!(!conn.sent(0, &limits, at(now_ms)));
        now_ms += 5_000;
        assert_eq!(conn.deadline(&limits, at(now_ms)), Some(now_ms - 5_000 + limits.write_ms), "nothing is read");
        assert!(conn.sent(1_000, &limits, at(now_ms)));
        let due_ms = now_ms - 4_000 + limits.body_ms;
        assert_eq!(conn.deadline(&limits, at(now_ms)), Some(due_ms), "the 4 s before count still");
    }
    assert_eq!(conn.timed_out(&limits, at(now_ms - 4_000 + limits.body_ms)), Overdue::Slow);
}
