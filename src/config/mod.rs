//! The daemon's configuration.
//!
//! Owns where values come from and which one counts: command line before environment before file before default. What
//! can be set is one table, [`KEYS`]; what a value may be is decided by the kinds of values. A file is read in one
//! place; of its tables, `[[channel]]` is a key like the others, whose value is all rules, and so is `[auth]`. Every error is one line that
//! says where, what, and what is accepted instead.

mod auth;
mod channel;
mod check;
mod file;
mod keys;
mod reload;
mod tls;
mod value;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::server::builder::{ADDRESS, BACKLOG, MOUNT, SOCKET_MODE};
use crate::server::{Builder, Listen, Server, Settings};

pub use keys::{KEYS, Key, help, meant};
pub use reload::Changes;
pub use value::Shown;

use keys::key;
use value::{Fault, Said, echo};

/// The variable that names the file.
const FILE_VARIABLE: &str = "ENCKE_CONFIG";
/// What Kubernetes tells of a service called encke: its address, and its ports, these with more behind an underscore.
const SERVICE_HOST: &str = "ENCKE_SERVICE_HOST";
const SERVICE_PORTS: &[&str] = &["ENCKE_SERVICE_PORT", "ENCKE_PORT"];
/// File descriptors that are not for connections: listeners, poll, waker, signals, standard streams, and a reserve.
const OTHER_FILES: u64 = 32;

/// Everything that can be set, with its defaults.
#[derive(Clone, Debug)]
pub struct Options {
    listen: Vec<Listen>,
    backlog: usize,
    socket_mode: u32,
    tls_certificate: Option<String>,
    tls_key: Option<String>,
    mount: String,
    max_connections: Option<usize>,
    auth: Option<auth::Authentication>,
    settings: Settings,
}

impl Default for Options {
    fn default() -> Self {
        let settings = Settings::default();
        Self {
            listen: vec![Listen::Tcp(ADDRESS)],
            backlog: usize::try_from(BACKLOG).unwrap_or_default(),
            socket_mode: SOCKET_MODE,
            tls_certificate: None,
            tls_key: None,
            mount: MOUNT.to_owned(),
            max_connections: None,
            auth: None,
            settings,
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody has said anything.
    Default,
    /// The file, at that line, from 1.
    File(usize),
    /// The environment.
    Environment,
    /// The command line.
    Flag,
}

/// Where a value comes from, and how it was said there.
#[derive(Clone, Debug)]
struct Origin {
    source: Source,
    /// Such as `/etc/encke.toml, line 3: timeout = "30s"`.
    statement: String,
}

/// What has been said outside of the file: at the start, once and for all.
#[derive(Debug, Default)]
pub struct Inputs {
    /// The path, and who named it.
    file: Option<(PathBuf, &'static str)>,
    environment: Vec<Saying>,
    flags: Vec<Saying>,
}

/// A key by its place in the table, and the text of its value.
type Saying = (usize, String);

impl Inputs {
    /// Takes one flag of the command line. Of two for the same key the last one counts.
    ///
    /// # Errors
    /// There is no such key.
    pub fn flag(&mut self, name: &str, value: String) -> Result<(), String> {
        if name == "config" {
            if value.is_empty() {
                return Err("--config needs a value: FILE".to_owned());
            }
            self.file = Some((PathBuf::from(value), "--config"));
            return Ok(());
        }
        let key = keys::find(name).ok_or_else(|| unknown_flag(name))?;
        self.flags.push((key, value));
        Ok(())
    }

    /// Takes the variables of the environment that are for encke. An empty one counts as not set.
    ///
    /// # Errors
    /// A variable that begins with `ENCKE_` and is for no key, or a value that is not UTF-8.
    pub fn environment(&mut self, all: impl IntoIterator<Item = (OsString, OsString)>) -> Result<(), String> {
        for (name, value) in all {
            let name = name.to_string_lossy();
            let Some(rest) = name.strip_prefix("ENCKE_").filter(|_| !is_foreign(&name)) else { continue };
            let known = KEYS.iter().position(|key| key.variable() == name);
            if known.is_none() && name != FILE_VARIABLE {
                return Err(unknown_variable(&name, rest));
            }
            let text = value.into_string().map_err(|value| format!("{name}={}: not UTF-8", value.display()))?;
            match known {
                _ if text.is_empty() => {}
                Some(key) => self.environment.push((key, text)),
                None if self.file.is_none() => self.file = Some((PathBuf::from(text), FILE_VARIABLE)),
                // The command line has named another one.
                None => {}
            }
        }
        Ok(())
    }

    /// The configuration file, if there is one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(|(path, _)| path.as_path())
    }

    /// Reads the file, and puts everything together.
    ///
    /// # Errors
    /// One line for the operator.
    pub fn load(&self) -> Result<Config, String> {
        let mut config = Config::new(self.file().map(Path::to_path_buf));
        if let Some((path, named_by)) = &self.file {
            file::read(path, named_by, &mut config)?;
        }
        for (key, value) in &self.environment {
            let statement = format!("{}={}", KEYS[*key].variable(), repeated(*key, value));
            config.obey(*key, value, Origin { source: Source::Environment, statement })?;
        }
        for (key, value) in &self.flags {
            let statement = format!("--{} {}", KEYS[*key].name, repeated(*key, value));
            config.obey(*key, value, Origin { source: Source::Flag, statement })?;
        }
        config.complete()?;
        Ok(config)
    }
}

/// A value as an error repeats it. A table of `auth` may have secrets in it.
fn repeated(key: usize, value: &str) -> String {
    if key == key!("auth") && value.contains('{') { "{…}".to_owned() } else { echo(value) }
}

/// Whether Kubernetes sets the variable, as it does in every container when there is a service called encke.
fn is_foreign(variable: &str) -> bool {
    let is_port = |name: &str| {
        let more = variable.strip_prefix(name);
        more.is_some_and(|more| more.is_empty() || more.starts_with('_'))
    };
    variable == SERVICE_HOST || SERVICE_PORTS.iter().any(|name| is_port(name))
}

fn unknown_flag(name: &str) -> String {
    match meant(name) {
        Some(near) => format!("unknown option --{}: did you mean --{near}?", echo(name)),
        None => format!("unknown option --{}: see encke --help", echo(name)),
    }
}

fn unknown_variable(variable: &str, rest: &str) -> String {
    let near = meant(rest).and_then(keys::find).map(|key| KEYS[key].variable());
    let help = match near {
        Some(near) => format!("did you mean {near}?"),
        None if rest.contains("SERVICE_") || rest.contains("PORT") => {
            "see encke --help; if Kubernetes makes it for a service, set enableServiceLinks: false".to_owned()
        }
        None => "see encke --help".to_owned(),
    };
    format!("unknown environment variable {}: {help}", echo(variable))
}

/// The configuration in force, with where each value comes from.
#[derive(Clone, Debug)]
pub struct Config {
    options: Options,
    /// For each key, in the order of the table.
    origins: Vec<Origin>,
    file: Option<PathBuf>,
}

impl Config {
    fn new(file: Option<PathBuf>) -> Self {
        let options = Options::default();
        let origin = |_| Origin { source: Source::Default, statement: String::new() };
        Self { options, origins: KEYS.iter().map(origin).collect(), file }
    }

    /// Sets one key to what a word says.
    fn obey(&mut self, key: usize, word: &str, origin: Origin) -> Result<(), String> {
        self.set(key, &Said::Word(word), &origin).map_err(|fault| format!("{}: {}", origin.statement, fault.text))
    }

    /// Sets one key.
    fn set(&mut self, key: usize, said: &Said<'_>, origin: &Origin) -> Result<(), Fault> {
        KEYS[key].field.read(&mut self.options, said)?;
        self.origins[key].clone_from(origin);
        Ok(())
    }

    /// What depends on more than one key.
    fn complete(&mut self) -> Result<(), String> {
        if self.origins[key!("demo")].source == Source::Default {
            let room = cfg!(feature = "demo") && self.options.mount != "/";
            self.options.settings.demo = room && self.file.is_none();
        }
        self.agree()
    }

    /// Whether the values go together.
    fn agree(&self) -> Result<(), String> {
        let Options { mount, settings, .. } = &self.options;
        if settings.demo && !cfg!(feature = "demo") {
            return Err(format!("{}: this encke was built without it", self.says(key!("demo"))));
        }
        if settings.demo && mount == "/" {
            let (demo, mount) = (self.says(key!("demo")), self.says(key!("mount")));
            return Err(format!("{demo}: must be false, for the endpoint takes every path ({mount})"));
        }
        if settings.limits.outbox_bytes > settings.limits.queued_bytes {
            let (one, all) = (self.says(key!("max-queue-size")), self.says(key!("max-queued-bytes")));
            return Err(format!("{one}: must not be larger than max-queued-bytes, which is for all sessions ({all})"));
        }
        self.agree_on_auth()?;
        self.agree_on_tls()
    }

    /// What the operator said of a key, or what holds because nobody did.
    fn says(&self, key: usize) -> String {
        match &self.origins[key] {
            Origin { source: Source::Default, .. } => format!("{} {} by default", KEYS[key].name, self.plain(key)),
            Origin { statement, .. } => statement.clone(),
        }
    }

    /// The value of a key, as it stands on the command line.
    fn plain(&self, key: usize) -> String {
        match KEYS[key].shown(&self.options) {
            Shown::Unset if key == key!("max-connections") => self.connections().to_string(),
            shown => shown.plain(),
        }
    }

    /// Decides how many connections there can be with so many open files.
    ///
    /// # Errors
    /// One line for the operator: more were asked for than that.
    pub fn fit_into_files(&mut self, files: u64) -> Result<(), String> {
        let most = usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX);
        if most == 0 {
            return Err(format!(
                "the limit of open files is {files}, and {OTHER_FILES} are needed beside those of connections: raise it \
                (`ulimit -Hn` shows it, LimitNOFILE= of a systemd unit sets it)"
            ));
        }
        let connections = &mut self.options.settings.limits.connections;
        match self.options.max_connections {
            None => *connections = most.min(*connections),
            Some(wanted) if wanted <= most => *connections = wanted,
            Some(_) => {
                return Err(format!(
                    "{}: the limit of open files is {files}, which leaves room for {most}: raise the hard limit \
                    (`ulimit -Hn` shows it, LimitNOFILE= of a systemd unit sets it), or lower max-connections",
                    self.says(key!("max-connections"))
                ));
            }
        }
        Ok(())
    }

    /// How many connections may be open.
    pub fn connections(&self) -> usize {
        self.options.settings.limits.connections
    }

    /// The file that was read.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Whether there is a page to try.
    pub fn demo(&self) -> bool {
        self.options.settings.demo
    }

    /// How the operator said where to listen, if anyone did.
    pub fn said_listen(&self) -> Option<&str> {
        let Origin { source, statement } = &self.origins[key!("listen")];
        (*source != Source::Default).then_some(statement.as_str())
    }

    /// What can be changed while the server runs.
    pub fn settings(&self) -> Settings {
        // Otherwise `http-token`, or where a request comes from, would be asked for as well.
        Settings { http_by_policy: self.options.auth.is_some(), ..self.options.settings.clone() }
    }

    /// A builder with all of this.
    pub fn builder(&self) -> Builder {
        let options = &self.options;
        Server::builder()
            .listen(options.listen.clone())
            .backlog(i32::try_from(options.backlog).unwrap_or(i32::MAX))
            .socket_mode(options.socket_mode)
            .mount(&options.mount)
            .settings(self.settings())
    }
}

#[cfg(test)]
mod tests;
