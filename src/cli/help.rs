//! What `--help` prints: each command with one example.

/// What help is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    All,
    Run,
    Demo,
    Check,
    Start,
    Sessions,
    History,
    Reload,
    Version,
}

impl Topic {
    /// The command of this name.
    ///
    /// # Errors
    /// Where there is none.
    pub fn of(name: &str) -> Result<Self, String> {
        match name {
            "run" => Ok(Self::Run),
            "demo" => Ok(Self::Demo),
            "check" => Ok(Self::Check),
            "start" => Ok(Self::Start),
            "sessions" => Ok(Self::Sessions),
            "history" => Ok(Self::History),
            "reload" => Ok(Self::Reload),
            "version" => Ok(Self::Version),
            _ => Err(format!("\"{name}\" is not a command")),
        }
    }
}

pub fn text(topic: Topic) -> &'static str {
    match topic {
        Topic::All => ALL,
        Topic::Run => RUN,
        Topic::Demo => DEMO,
        Topic::Check => CHECK,
        Topic::Start => START,
        Topic::Sessions => SESSIONS,
        Topic::History => HISTORY,
        Topic::Reload => RELOAD,
        Topic::Version => VERSION,
    }
}

const ALL: &str = "\
branchline: a voice gateway for a branch office

usage: branchline [COMMAND] [--config FILE]

  run               serve the configuration until TERM or INT (what it does without a command)
  demo              show a whole callback on this machine, without phones
  check [FILE]      say what is wrong with the configuration, and what it takes at worst
  start RULE [DATA] start a rule's scenarios and follow the session's log
  sessions          the sessions that run
  history [ROWS]    the last sessions and their calls
  reload            read rules, scripts, routes, users and trunks again
  version           print the version

The configuration is FILE, else ./config.toml, else /etc/branchline/config.toml.
`branchline COMMAND --help` shows an example. Exit codes: 0 done, 1 failed, 2 usage or
configuration.
";

const RUN: &str = "\
usage: branchline [run] [--config FILE]

Serves the configuration. TERM or INT: takes no new calls, gives running sessions drain_s
seconds, ends the rest, exits with 0; a second one ends them at once. HUP: like `reload`.

  branchline run --config /etc/branchline/config.toml
";

const DEMO: &str = "\
usage: branchline demo [--keep FOLDER]

Starts a gateway on free ports of this machine, starts the callback over HTTP, prints the call
ladder as it happens, steers the session through its access URL, and measures what each side
heard. Exits with 0 only if every step was seen. --keep leaves recordings, logs and database in
FOLDER.

  branchline demo
";

const CHECK: &str = "\
usage: branchline check [FILE]

Reads the configuration, compiles the scripts and computes the memory that the limits allow at
worst. Prints all problems with file and line; exits with 2 if there are any.

  branchline check config.toml
";

const START: &str = "\
usage: branchline start RULE [DATA] [--config FILE]

Starts the scenarios of a rule, by its id or name, in the gateway that runs on this
configuration; prints the session's access URL and its log until the session ends.

  branchline start callback 7001:7002
";

const SESSIONS: &str = "\
usage: branchline sessions [--config FILE]

The sessions that run: number, start, rule, who started it, calls.

  branchline sessions
";

const HISTORY: &str = "\
usage: branchline history [ROWS] [--config FILE]

The last sessions, newest first, with their calls; 20 rows where it is not said.

  branchline history 5
";

const RELOAD: &str = "\
usage: branchline reload [--config FILE]

Checks the configuration and has the running gateway read rules, scripts, routes, users and
trunks again. Sessions that run keep what they started with. Other keys take effect at the next
start.

  branchline reload
";

const VERSION: &str = "\
usage: branchline version

  branchline version
";
