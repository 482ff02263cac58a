//! The command line by running the binary: exit codes, what is said, and a gateway's life.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A folder with a configuration on free ports; removed at the end.
struct Site {
    folder: PathBuf,
}

impl Site {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir();
        let folder = folder.join(format!("branchline-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("scenarios")).unwrap();
        let site = Self { folder };
        site.script("idle.js", "VoxEngine.addEventListener(AppEvents.HttpRequest, () => 'ok');\n");
        site.script("end.js", "Logger.write('hello log'); VoxEngine.terminate();\n");
        site.configure(RULES);
        site
    }

    fn configure(&self, rules: &str) {
        let text = format!("{SERVERS}{rules}");
        fs::write(self.config(), text).unwrap();
    }

    fn script(&self, name: &str, source: &str) {
        fs::write(self.folder.join("scenarios").join(name), source).unwrap();
    }

    fn config(&self) -> PathBuf {
        self.folder.join("config.toml")
    }

    /// A command with this site's configuration.
    fn branchline(&self, arguments: &[&str]) -> Output {
        let config = self.config();
        let config = ["--config", config.to_str().unwrap()];
        branchline(&self.folder, &[arguments, &config].concat())
    }

    fn start(&self) -> Gateway {
        Gateway::start(self, &[])
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// `branchline run` as a child, killed at the end.
struct Gateway {
    child: Child,
    lines: Receiver<String>,
    said: String,
    url: String,
}

impl Gateway {
    fn start(site: &Site, environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(BINARY)
            .arg("run")
            .arg("--config")
            .arg(site.config())
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let stderr = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut gateway = Self { child, lines, said: String::new(), url: String::new() };
        let ready = gateway.until("ready: ");
        gateway.url = ready.split("ready: ").nth(1).unwrap().to_owned();
        gateway
    }

    /// The next line of the log that holds this text.
    fn until(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("no \"{text}\" in:\n{}", self.said));
            self.said.push_str(&line);
            self.said.push('\n');
            if line.contains(text) {
                return line;
            }
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// The exit code.
    fn end(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the gateway did not end");
    }

    /// Status and body of a GET.
    fn get(&self, path: &str) -> (String, String) {
        let host = self.url.trim_start_matches("http://");
        let mut socket = TcpStream::connect(host).unwrap();
        write!(socket, "GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn branchline(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).current_dir(folder).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn check(output: &Output, code: i32, out: &str, err: &str) {
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{stdout}\n{stderr}");
    assert!(stdout.contains(out), "no \"{out}\" in: {stdout}");
    assert!(stderr.contains(err), "no \"{err}\" in: {stderr}");
}

#[test]
fn version_and_help_need_no_configuration() {
    let folder = std::env::temp_dir();
    check(&branchline(&folder, &["version"]), 0, "branchline 0.", "");
    check(&branchline(&folder, &["--help"]), 0, "usage: branchline", "");
    for command in ["run", "demo", "check", "start", "sessions", "history", "reload", "version"] {
        // Each shows an example.
        let example = format!("\n  branchline {command}");
        check(&branchline(&folder, &[command, "--help"]), 0, &example, "");
    }
}

#[test]
fn wrong_usage_is_2() {
    let site = Site::new("usage");
    check(&branchline(&site.folder, &["serve"]), 2, "", "\"serve\" is not a command");
    check(&branchline(&site.folder, &["start"]), 2, "", "start which rule");
    check(&branchline(&site.folder, &["check", "nowhere.toml"]), 2, "", "nowhere.toml: no such");
    let nowhere = site.folder.join("scenarios");
    check(&branchline(&nowhere, &["check"]), 2, "", "no ./config.toml");
}

#[test]
fn check_says_everything_that_is_wrong_at_once() {
    let site = Site::new("check");
    check(&site.branchline(&["check"]), 0, "memory at worst:", "");
    site.script("bad.js", "// line 1\nlet = ;\n");
    site.configure(
        "[[application]]\nid = 1\nname = \"a\"\n[[application.rule]]\nid = 1\n\
                    name = \"r\"\nscenarios = [\"bad.js\"]\n",
    );
    check(&site.branchline(&["check"]), 2, "", "bad.js:2: SyntaxError");
    site.configure("[gatewya]\n[media]\nthreads = \"many\"\n");
    let output = site.branchline(&["check"]);
    check(&output, 2, "", "config.toml:7: unknown key \"gatewya\"");
    check(&output, 2, "", "config.toml:9: [media] threads");
    // `run` says the same and does not start.
    check(&site.branchline(&["run"]), 2, "", "unknown key \"gatewya\"");
}

#[test]
fn commands_without_a_gateway_say_so() {
    let site = Site::new("none");
    check(&site.branchline(&["sessions"]), 1, "", "no gateway runs on");
    check(&site.branchline(&["start", "idle"]), 1, "", "start it with `branchline run`");
    check(&site.branchline(&["reload"]), 1, "", "no gateway runs on");
    check(&site.branchline(&["history"]), 0, "no session yet", "");
}

#[test]
fn gateway_serves_stops_in_order_and_leaves_its_history() {
    let site = Site::new("life");
    let mut gateway = site.start();
    let (status, health) = gateway.get("/health");
    assert_eq!(status, "HTTP/1.0 200 OK");
    assert!(health.contains("\"status\":\"ok\""), "{health}");
    check(&site.branchline(&["sessions"]), 0, "no session runs", "");

    let started = site.branchline(&["start", "end"]);
    check(&started, 0, "access URL http://127.0.0.1:", "");
    check(&started, 0, "hello log", "");
    check(&started, 0, "session 1 ended: Normal termination", "");
    check(&site.branchline(&["start", "2424"]), 1, "", "no rule \"2424\"; there are idle (1)");
    check(&site.branchline(&["history", "1"]), 0, "Normal termination", "");

    gateway.signal("-TERM");
    assert_eq!(gateway.end(), Some(0));
    check(&site.branchline(&["sessions"]), 1, "", "no gateway runs on");
    check(&site.branchline(&["history"]), 0, "Normal termination", "");
}

#[test]
fn session_that_runs_is_ended_at_the_end_of_the_drain() {
    let site = Site::new("drain");
    let mut gateway = site.start();
    let site_config = site.config();
    let follower = Command::new(BINARY)
        .args(["start", "1", "--config", site_config.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    gateway.until("session=1 starts");
    check(&site.branchline(&["sessions"]), 0, "idle", "");
    gateway.signal("-TERM");
    gateway.until("1 sessions have 1 s to end");
    let (status, health) = gateway.get("/health");
    assert_eq!(
        (status.as_str(), health.contains("draining")),
        ("HTTP/1.0 503 Service Unavailable", true)
    );
    gateway.until("ending 1 sessions");
    assert_eq!(gateway.end(), Some(0));
    drop(follower.wait_with_output());
    check(&site.branchline(&["history"]), 0, "Terminated administratively", "");
}

#[test]
fn second_signal_does_not_wait_for_the_drain() {
    let site = Site::new("hurry");
    site.configure(&RULES.replace("drain_s = 1", "drain_s = 60"));
    let mut gateway = site.start();
    let started = Instant::now();
    let mut follower = Command::new(BINARY)
        .arg("start")
        .arg("1")
        .arg("--config")
        .arg(site.config())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    gateway.until("session=1 starts");
    gateway.signal("-INT");
    gateway.until("have 60 s to end");
    gateway.signal("-INT");
    assert_eq!(gateway.end(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(10));
    follower.wait().unwrap();
}

#[test]
fn reload_takes_rules_and_a_bad_file_changes_nothing() {
    let site = Site::new("reload");
    let mut gateway = site.start();
    site.configure(&RULES.replace("name = \"idle\"", "name = \"renamed\""));
    check(&site.branchline(&["reload"]), 0, "reloaded", "");
    check(&site.branchline(&["start", "idle"]), 1, "", "there are renamed (1)");
    site.configure(&RULES.replace("idle.js", "missing.js"));
    // The command reads the file itself; the signal leaves that to the gateway.
    check(&site.branchline(&["reload"]), 2, "", "missing.js");
    gateway.signal("-HUP");
    gateway.until("missing.js");
    let (_, health) = gateway.get("/health");
    assert!(health.contains("missing.js"), "{health}");
    assert_eq!(gateway.get("/health").0, "HTTP/1.0 200 OK");
}

#[test]
fn port_that_is_taken_is_named() {
    let site = Site::new("port");
    let sip = UdpSocket::bind("127.0.0.1:0").unwrap();
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let (sip_port, http_port) = (sip.local_addr().unwrap(), http.local_addr().unwrap());
    let text = fs::read_to_string(site.config()).unwrap();
    let text = text.replace("udp://127.0.0.1:0", &format!("udp://{sip_port}"));
    let text = text.replace("[\"127.0.0.1:0\"]", &format!("[\"{http_port}\"]"));
    fs::write(site.config(), text).unwrap();
    let output = site.branchline(&["run"]);
    check(&output, 1, "", &format!("[sip] listen udp://{sip_port}: the port is taken"));
    check(&output, 1, "", &format!("[control] listen http://{http_port}: the port is taken"));
}

#[test]
fn folder_serves_one_gateway_and_keeps_its_key() {
    let site = Site::new("folder");
    let gateway = site.start();
    let key = site.folder.join("data/api_key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let first = fs::read_to_string(&key).unwrap();
    assert!(!gateway.said.contains(first.trim()), "the key is in the log");
    let pid = gateway.child.id();
    check(&site.branchline(&["run"]), 1, "", &format!("in use by a gateway with pid {pid}"));
    drop(gateway);
    // A gateway that was killed leaves its lock file; that stops nobody.
    let _again = site.start();
    assert_eq!(fs::read_to_string(&key).unwrap(), first);
}

#[test]
fn service_manager_hears_ready_and_stopping() {
    let site = Site::new("notify");
    let path = site.folder.join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut gateway = Gateway::start(&site, &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    let hear = || {
        let mut buffer = [0; 256];
        let length = manager.recv(&mut buffer).unwrap();
        text(&buffer[..length])
    };
    assert!(hear().starts_with("READY=1"));
    gateway.signal("-TERM");
    assert!(hear().starts_with("STOPPING=1"));
    assert_eq!(gateway.end(), Some(0));
}

/// On free ports of the system's choice.
const SERVERS: &str = "[control]
listen = [\"127.0.0.1:0\"]
[sip]
listen = [\"udp://127.0.0.1:0\", \"tcp://127.0.0.1:0\"]
[limits]
memory_mib = 512
";

const RULES: &str = "[gateway]
drain_s = 1
[[application]]
id = 1
name = \"site\"
[[application.rule]]
id = 1
name = \"idle\"
pattern = ''
scenarios = [\"idle.js\"]
[[application.rule]]
id = 2
name = \"end\"
pattern = ''
scenarios = [\"end.js\"]
";

const BINARY: &str = env!("CARGO_BIN_EXE_branchline");
const PATIENCE: Duration = Duration::from_secs(20);
