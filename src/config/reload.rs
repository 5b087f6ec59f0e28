//! What differs between the configuration in force and one that was read again.

use super::{Config, KEYS, Origin, key};

/// What has changed, as lines for the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// What takes effect now.
    pub live: Vec<String>,
    /// What takes effect only in another process.
    pub at_restart: Vec<String>,
}

impl Config {
    /// The configuration that takes the place of this one in a running server: all of the next one that can change
    /// there. With `inherited` sockets, what is said of sockets has no effect either way.
    ///
    /// # Errors
    /// One line for the operator: what is new does not go together with what stays.
    pub fn succeeded_by(&self, next: Self, inherited: bool) -> Result<(Self, Changes), String> {
        let (mut now, mut changes) = (next, Changes::default());
        for (at, key) in KEYS.iter().enumerate() {
            if key.shown(&self.options) == key.shown(&now.options) {
                continue;
            }
            let (was, is) = (self.plain(at), now.plain(at));
            let name = key.name;
            // Nobody was asked, or nobody will be: sessions that there are would keep what they may not, or lose all.
            let turned = at == key!("auth") && self.options.auth.is_some() != now.options.auth.is_some();
            if key.live && !turned {
                changes.live.push(match is == was {
                    true => format!("{name} is now another one: {is}"),
                    false => format!("{name} is now {is} (was {was})"),
                });
                continue;
            }
            // So that the next time it is told again.
            key.field.copy(&self.options, &mut now.options);
            now.origins[at] = Origin {
                source: self.origins[at].source,
                // The file no longer has the line that it comes from.
                statement: format!("{name} is {was} until a restart"),
            };
            if !(inherited && key.of_sockets) {
                let text = format!("{name} cannot change at run time: restart encke for {is} (still {was})");
                changes.at_restart.push(text);
            }
        }
        now.agree()?;
        Ok((now, changes))
    }
}
