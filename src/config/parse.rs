//! From the text of `config.toml` to a [`Config`]: every table, every key, every problem at once.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use super::read::{Environment, Item, Source, Table, not_one_of};
use super::tls::tls;
use super::{
    Application, Codec, Config, Control, Digest, Dtmf, From, Gateway, L16, Limits, Media, Network,
    OnError, Prack, Problem, RecordingsFormat, Route, Rule, Scenario, Script, Sip, SipListen,
    SipTransport, Srtp, Storage, Strangers, TLS_HANDSHAKES, Tls, Trunk, Tts, TtsEngine, User,
    trunk,
};
use crate::budget::Budget;
use crate::logger::Filter;
use crate::rules::Pattern;

impl Config {
    /// Reads the text of the file at `path`; the path itself only names the file in messages and
    /// is what relative paths are relative to.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the lines. Where the text is no TOML, only that.
    pub fn parse(
        path: &Path,
        text: &str,
        environment: &Environment<'_>,
    ) -> Result<Self, Vec<Problem>> {
        let source = Source::new(path, text, environment);
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let line = error.span().map(|span| source.line(span.start));
            source.report(line, error.message().to_owned());
        }
        let config = source.is_good().then(|| read_document(&source, document.get_ref()));
        match config {
            Some(config) if source.is_good() => Ok(config),
            _ => Err(source.into_problems()),
        }
    }
}

fn read_document<'s>(source: &'s Source<'s>, document: &'s DeTable<'s>) -> Config {
    let root = Table::root(source, document);
    let gateway = gateway(root.table("gateway"), source);
    let sip = sip(root.table("sip"), source);
    let trunks = trunks(&root, source, &sip.tls);
    let is_secure = sip.listen.iter().any(|one| one.transport.is_secure())
        || trunks
            .iter()
            .any(|trunk| is_tls(&trunk.server) || is_tls(&trunk.account.outbound_proxy));
    let users = users(&root);
    let media = media(root.table("media"));
    let own = trunks.iter().map(|trunk| &trunk.codecs);
    let own = own.chain(users.iter().map(|user| &user.codecs));
    let codecs = own.flatten().chain(&media.codecs);
    let call_audio_bytes = codecs.map(|codec| codec.audio_bytes()).max().unwrap_or(0);
    let limits = limits(root.table("limits"), source, is_secure, call_audio_bytes);
    let config = Config {
        control: control(root.table("control")),
        sip,
        dns: super::dns::settings(root.table("dns")),
        media,
        scenario: scenario(root.table("scenario")),
        tts: tts(root.table("tts")),
        storage: storage(root.table("storage")),
        routes: routes(&root, &trunks),
        applications: applications(
            &root,
            &Known {
                source,
                folder: &gateway.scenarios_dir,
                script_chars: limits.script_chars,
                trunks: &trunks,
                users: &users,
            },
        ),
        gateway,
        limits,
        trunks,
        users,
    };
    root.finish();
    config
}

fn gateway(table: Table<'_>, source: &Source<'_>) -> Gateway {
    let default = Gateway::default();
    let path = |key, default: &PathBuf| {
        let text = table.string(key, &default.to_string_lossy());
        if text.is_empty() {
            table.problem(key, "is empty; name a folder");
        }
        source.path(&text)
    };
    let gateway = Gateway {
        name: table.string("name", &default.name),
        data_dir: path("data_dir", &default.data_dir),
        scenarios_dir: path("scenarios_dir", &default.scenarios_dir),
        log: table.string("log", &default.log),
        redact: table.flag("redact", default.redact),
        drain: seconds(&table, "drain_s", 0..=3600, default.drain),
    };
    check_name(&table, &gateway.name);
    if let Err(error) = Filter::parse(&gateway.log) {
        table.problem("log", error);
    }
    table.finish();
    gateway
}

fn control(table: Table<'_>) -> Control {
    let default = Control::default();
    let control = Control {
        listen: addresses(&table, default.listen),
        public_url: public_url(&table),
        account_id: id(&table, "account_id", default.account_id),
        account_name: table.string("account_name", &default.account_name),
        api_key: table.string("api_key", ""),
        allow_from: networks(&table, "allow_from", default.allow_from),
        cors_origins: texts(table.strings("cors_origins")),
    };
    check_danger(&table, &control);
    table.finish();
    control
}

fn sip(table: Table<'_>, source: &Source<'_>) -> Sip {
    let default = Sip::default();
    let tls = tls(table.inner("tls", "sip.tls"), source, &default.tls);
    let listen = match table.strings("listen") {
        None => default.listen,
        Some(items) => {
            let mut listen: Vec<SipListen> = Vec::new();
            for item in &items {
                match sip_listen(&item.text) {
                    Ok(one) if one.address.port() != 0 && listen.contains(&one) => {
                        table.problem_at(item.line, format!("listen \"{}\" is twice", item.text));
                    }
                    Ok(one) => {
                        if one.transport.is_secure() && tls.certificate.is_none() {
                            let text = "needs a certificate: set cert and key in tls";
                            let listen = &item.text;
                            table.problem_at(item.line, format!("listen \"{listen}\" {text}"));
                        }
                        listen.push(one);
                    }
                    Err(error) => table.problem_at(item.line, format!("listen {error}")),
                }
            }
            if items.is_empty() {
                table.problem("listen", "is empty; give at least one, such as udp://0.0.0.0:5060");
            }
            listen
        }
    };
    let algorithms = [("MD5", Digest::Md5), ("SHA-256", Digest::Sha256)];
    let sip = Sip {
        listen,
        public_address: table.string("public_address", ""),
        domain: table.string("domain", ""),
        digest: preferences(&table, "digest", &algorithms, default.digest),
        tls,
        ws_origins: origins(&table),
        // The ranges fit.
        source_rate: table.size("source_rate", 1..=1_000_000, default.source_rate as usize) as u32,
        strangers_rate: table.size("strangers_rate", 1..=1_000_000, default.strangers_rate as usize)
            as u32,
        strangers: table.choice(
            "strangers",
            &[("refuse", Strangers::Refuse), ("drop", Strangers::Drop)],
            default.strangers,
        ),
        scanners: scanners(&table, default.scanners),
        session_expires: seconds(&table, "session_expires_s", 0..=86_400, default.session_expires),
        min_se: seconds(&table, "min_se_s", 90..=86_400, default.min_se),
        local_networks: networks(&table, "local_networks", default.local_networks),
        keepalive: seconds(&table, "keepalive_s", 0..=3600, default.keepalive),
    };
    if !sip.session_expires.is_zero() && sip.session_expires < sip.min_se {
        table.problem("session_expires_s", "is less than min_se_s; 0 turns session timers off");
    }
    for (key, host) in [("public_address", &sip.public_address), ("domain", &sip.domain)] {
        if !host.is_empty() && !is_host(host) {
            table.problem(key, format!("\"{host}\" is not an address or host name"));
        }
    }
    table.finish();
    sip
}

fn scanners(table: &Table<'_>, default: Vec<String>) -> Vec<String> {
    let Some(items) = table.strings("scanners") else { return default };
    for item in items.iter().filter(|item| item.text.is_empty()) {
        table.problem_at(item.line, "scanners holds \"\", with which every name begins");
    }
    items.into_iter().map(|item| item.text).collect()
}

fn media(table: Table<'_>) -> Media {
    let default = Media::default();
    let (first, last) = default.rtp_ports;
    let (first, last) = table.pair("rtp_ports", 1024..=65535, (u64::from(first), u64::from(last)));
    // Each call takes an even port for RTP and the next for RTCP (RFC 3550 §11).
    if last < first + 3 {
        table.problem("rtp_ports", format!("[{first}, {last}] has room for no two calls"));
    }
    let media = Media {
        // Both fit: the range ends at 65535.
        rtp_ports: (first as u16, last as u16),
        codecs: preferences(&table, "codecs", CODECS, default.codecs),
        ptime: ptime(&table, default.ptime),
        comfort_noise: table.flag("comfort_noise", default.comfort_noise),
        opus_bitrate: opus_bitrate(&table),
        opus_dtx: table.flag("opus_dtx", default.opus_dtx),
        rtcp_xr: table.flag("rtcp_xr", default.rtcp_xr),
        srtp: table.choice("srtp", &SRTP, default.srtp),
        threads: table.size("threads", 1..=16, default.threads),
    };
    table.finish();
    media
}

/// In the steps that every codec can make.
fn ptime(table: &Table<'_>, default: Duration) -> Duration {
    let ptime = table.number("ptime_ms", 10..=60, default.as_millis() as u64);
    if !matches!(ptime, 10 | 20 | 30 | 40 | 60) {
        table.problem("ptime_ms", format!("{ptime} is not one of 10, 20, 30, 40, 60"));
    }
    Duration::from_millis(ptime)
}

/// RFC 7587 §6.1; 0: no wish.
fn opus_bitrate(table: &Table<'_>) -> Option<u32> {
    let bitrate = table.number("opus_bitrate", 0..=510_000, 0);
    if (1..6000).contains(&bitrate) {
        table.problem("opus_bitrate", format!("{bitrate} is below 6000 and not 0"));
    }
    u32::try_from(bitrate).ok().filter(|bitrate| *bitrate != 0)
}

/// Of a trunk or user; `None`: as `[media]`.
fn srtp_of_peer(table: &Table<'_>) -> Option<Srtp> {
    match table.string("srtp", "").as_str() {
        "" => None,
        _ => Some(table.choice("srtp", &SRTP, Srtp::Optional)),
    }
}

const SRTP: [(&str, Srtp); 3] =
    [("off", Srtp::Off), ("optional", Srtp::Optional), ("required", Srtp::Required)];

/// A list of names in order of preference, each once; `default` where the key is not there.
fn preferences<T: Copy + PartialEq>(
    table: &Table<'_>,
    key: &'static str,
    choices: &[(&str, T)],
    default: Vec<T>,
) -> Vec<T> {
    let Some(items) = table.strings(key) else { return default };
    let mut found = Vec::new();
    for item in &items {
        match choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(&item.text)) {
            Some((_, choice)) if found.contains(choice) => {
                table.problem_at(item.line, format!("{key} \"{}\" is twice", item.text));
            }
            Some((_, choice)) => found.push(*choice),
            None => {
                let text = not_one_of(&item.text, choices);
                table.problem_at(item.line, format!("{key} {text}"));
            }
        }
    }
    if items.is_empty() {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        table.problem(key, format!("is empty; give at least one of {}", names.join(", ")));
    }
    found
}

/// The codecs of one trunk or user; empty: those of `[media]`.
fn own_codecs(table: &Table<'_>) -> Vec<Codec> {
    match table.strings("codecs").is_some_and(|items| items.is_empty()) {
        true => Vec::new(),
        false => preferences(table, "codecs", CODECS, Vec::new()),
    }
}

fn scenario(table: Table<'_>) -> Scenario {
    let default = Scenario::default();
    let scenario = Scenario {
        threads: table.size("threads", 1..=16, default.threads),
        on_error: table.choice(
            "on_error",
            &[("log", OnError::Log), ("end", OnError::End)],
            default.on_error,
        ),
    };
    table.finish();
    scenario
}

fn tts(table: Table<'_>) -> Tts {
    let default = Tts::default();
    let engines = [
        ("auto", TtsEngine::Auto),
        ("espeak-ng", TtsEngine::EspeakNg),
        ("pico2wave", TtsEngine::Pico2wave),
        ("flite", TtsEngine::Flite),
        ("command", TtsEngine::Command),
        ("off", TtsEngine::Off),
    ];
    let tts = Tts {
        engine: table.choice("engine", &engines, default.engine),
        command: texts(table.strings("command")),
        voices: table.named_strings("voices"),
        cache_bytes: table.number("cache_mib", 0..=1 << 20, default.cache_bytes / MIB) * MIB,
    };
    match (tts.engine, tts.command.is_empty()) {
        (TtsEngine::Command, true) => {
            table.problem("command", "is empty; engine \"command\" needs the program to run");
        }
        (TtsEngine::Command, false) | (_, true) => {}
        (_, false) => {
            table.problem("command", "is for engine = \"command\" only; set that or leave it out");
        }
    }
    table.finish();
    tts
}

fn storage(table: Table<'_>) -> Storage {
    let default = Storage::default();
    let days = |key, default: Duration| {
        Duration::from_secs(table.number(key, 1..=36_500, default.as_secs() / DAY_S) * DAY_S)
    };
    let formats = [("wav", RecordingsFormat::Wav), ("opus", RecordingsFormat::Opus)];
    let mebibytes = |key, default: u64| table.number(key, 1..=1 << 30, default / MIB) * MIB;
    let storage = Storage {
        history_age: days("history_days", default.history_age),
        recordings_bytes: mebibytes("recordings_mib", default.recordings_bytes),
        recordings_age: days("recordings_days", default.recordings_age),
        recordings_format: table.choice("recordings_format", &formats, default.recordings_format),
        logs_bytes: mebibytes("logs_mib", default.logs_bytes),
        logs_age: days("logs_days", default.logs_age),
    };
    table.finish();
    storage
}

/// `is_secure`: something speaks TLS.
fn limits(
    table: Table<'_>,
    source: &Source<'_>,
    is_secure: bool,
    call_audio_bytes: usize,
) -> Limits {
    let default = Limits::default();
    let kibibytes = |key, range: std::ops::RangeInclusive<usize>, default: usize| {
        table.size(key, range, default >> 10) << 10
    };
    let mebibytes = |key, range: std::ops::RangeInclusive<usize>, default: usize| {
        table.size(key, range, default >> 20) << 20
    };
    let mut limits = Limits {
        memory_bytes: table.number("memory_mib", 0..=1 << 24, default.memory_bytes / MIB) * MIB,
        sessions: table.size("sessions", 0..=100_000, default.sessions),
        calls_per_session: table.size("calls_per_session", 1..=1000, default.calls_per_session),
        call_audio_bytes,
        calls_in_progress: table.size("calls_in_progress", 1..=1000, default.calls_in_progress),
        js_heap_bytes: mebibytes("js_heap_mib", 1..=1024, default.js_heap_bytes),
        js_reserve_bytes: kibibytes("js_reserve_kib", 256..=1 << 20, default.js_reserve_bytes),
        js_stack_bytes: kibibytes("js_stack_kib", 64..=4096, default.js_stack_bytes),
        js_run_time: Duration::from_millis(table.number(
            "js_run_time_ms",
            10..=60_000,
            default.js_run_time.as_millis() as u64,
        )),
        timers: table.size("timers", 1..=10_000, default.timers),
        players: table.size("players", 1..=1000, default.players),
        http_active: table.size("http_active", 1..=100, default.http_active),
        http_queued: table.size("http_queued", 1..=1000, default.http_queued),
        http_body_bytes: kibibytes("http_body_kib", 1..=1 << 16, default.http_body_bytes),
        request_body_bytes: kibibytes("request_body_kib", 1..=1 << 16, default.request_body_bytes),
        http_connections: table.size("http_connections", 1..=65_536, default.http_connections),
        http_pool_bytes: mebibytes("http_pool_mib", 1..=4096, default.http_pool_bytes),
        sip_streams: table.size("sip_streams", 1..=65_536, default.sip_streams),
        tls_streams: 0,
        sip_transactions: table.size("sip_transactions", 10..=1_000_000, default.sip_transactions),
        sip_message_bytes: table.size(
            "sip_message_bytes",
            1300..=1 << 20,
            default.sip_message_bytes,
        ),
        contacts_per_user: table.size("contacts_per_user", 1..=100, default.contacts_per_user),
        ring_timeout: seconds(&table, "ring_timeout_s", 1..=3600, default.ring_timeout),
        idle_timeout: seconds(&table, "idle_timeout_s", 1..=86_400, default.idle_timeout),
        sound_bytes: mebibytes("sound_mib", 1..=1024, default.sound_bytes),
        sound_cache_bytes: mebibytes("sound_cache_mib", 1..=4096, default.sound_cache_bytes),
        script_chars: table.size("script_chars", 1000..=16 << 20, default.script_chars),
        log_line_chars: table.size("log_line_chars", 100..=1_000_000, default.log_line_chars),
        session_log_bytes: kibibytes(
            "session_log_kib",
            1..=1 << 20,
            default.session_log_bytes as usize,
        ) as u64,
        start_in_flight: table.size("start_in_flight", 1..=10_000, default.start_in_flight),
    };
    if is_secure {
        limits.tls_streams = limits.sip_streams.saturating_add(TLS_HANDSHAKES);
    }
    check_limits(&table, &limits);
    if source.is_good() {
        fit_sessions(&table, &mut limits, source.environment.memory_bytes);
    }
    table.finish();
    limits
}

/// Pairs of limits of which one makes no sense beyond the other.
fn check_limits(table: &Table<'_>, limits: &Limits) {
    let pairs = [
        ("js_reserve_kib", limits.js_reserve_bytes, "js_heap_mib", limits.js_heap_bytes),
        (
            "calls_in_progress",
            limits.calls_in_progress,
            "calls_per_session",
            limits.calls_per_session,
        ),
        ("http_active", limits.http_active, "http_queued", limits.http_queued),
        ("sound_mib", limits.sound_bytes, "sound_cache_mib", limits.sound_cache_bytes),
        ("http_body_kib", limits.http_body_bytes, "http_pool_mib", limits.http_pool_bytes),
        ("request_body_kib", limits.request_body_bytes, "http_pool_mib", limits.http_pool_bytes),
    ];
    for (small_key, small, large_key, large) in pairs {
        if small > large {
            let at = if table.has(small_key) { small_key } else { large_key };
            let line = table.line_of(at).unwrap_or(1);
            table.problem_at(
                line,
                format!(
                    "{small_key} is more than {large_key}: lower the first or raise the second"
                ),
            );
        }
    }
}

/// Where `sessions` is 0 it becomes what the memory allows, else it must fit.
fn fit_sessions(table: &Table<'_>, limits: &mut Limits, machine_bytes: u64) {
    if limits.memory_bytes > machine_bytes {
        let (wanted, there) = (limits.memory_bytes / MIB, machine_bytes / MIB);
        table.problem("memory_mib", format!("{wanted} is more than the {there} MiB there are"));
        return;
    }
    if limits.sessions == 0 {
        limits.sessions = Budget::sessions_that_fit(limits, machine_bytes).clamp(1, MOST_SESSIONS);
    }
    if let Err(error) = Budget::of(limits, machine_bytes) {
        table.problem("sessions", error);
    }
}

fn trunks(root: &Table<'_>, source: &Source<'_>, general: &Tls) -> Vec<Trunk> {
    let mut trunks: Vec<Trunk> = Vec::new();
    for mut table in root.tables("trunk") {
        let name = name(&mut table, "trunk", "routes and rules refer to it");
        let server = table.required("server", "where it is, such as sip:192.0.2.10:5060");
        let host = match check_server(&server) {
            Ok(host) => Some(host),
            Err(_) if server.is_empty() => None,
            Err(error) => {
                table.problem("server", error);
                None
            }
        };
        // A trunk named by address calls from that address, unless the operator says otherwise.
        let tls = tls(table.inner("tls", &format!("trunk.{name}.tls")), source, general);
        // Calls come in by the way on which ours go out.
        let account = trunk::account(&table);
        let hosts = [host, check_server(&account.outbound_proxy).ok()];
        let own_addresses =
            hosts.into_iter().flatten().filter_map(|host| host.parse::<IpAddr>().ok());
        let own_networks = own_addresses
            .map(|address| Network { address, prefix: if address.is_ipv4() { 32 } else { 128 } })
            .collect();
        let trunk = Trunk {
            is_mutual: tls.has_own_authorities(general),
            tls,
            register: table.flag("register", false),
            username: table.string("username", ""),
            password: table.string("password", ""),
            accept_from: networks(&table, "accept_from", own_networks),
            caller_id: table.string("caller_id", ""),
            dtmf: table.choice(
                "dtmf",
                &[
                    ("auto", Dtmf::Auto),
                    ("rfc4733", Dtmf::Rfc4733),
                    ("info", Dtmf::Info),
                    ("inband", Dtmf::Inband),
                ],
                Dtmf::Auto,
            ),
            srtp: srtp_of_peer(&table),
            options: seconds(&table, "options_s", 0..=3600, Duration::from_secs(30)),
            codecs: own_codecs(&table),
            account,
            identity: trunk::identity(&table),
            caps: trunk::caps(&table),
            prack: table.choice(
                "prack",
                &[
                    ("off", Prack::Off),
                    ("supported", Prack::Supported),
                    ("required", Prack::Required),
                ],
                Prack::Supported,
            ),
            name,
            server,
        };
        check_trunk(&table, &trunk, &trunks);
        table.finish();
        trunks.push(trunk);
    }
    trunks
}

fn check_trunk(table: &Table<'_>, trunk: &Trunk, earlier: &[Trunk]) {
    if earlier.iter().any(|other| other.name == trunk.name) && !trunk.name.is_empty() {
        table.problem("name", format!("\"{}\" is the name of an earlier trunk", trunk.name));
    }
    // Whose certificate is shown and trusted is known by the host.
    let place = |trunk: &Trunk| {
        check_server(&trunk.server).ok().filter(|_| is_tls(&trunk.server)).map(str::to_owned)
    };
    let rival = |other: &&Trunk| other.tls != trunk.tls && place(other) == place(trunk);
    if let Some(other) = earlier.iter().find(rival).filter(|_| place(trunk).is_some()) {
        let name = &other.name;
        table.problem("tls", format!("is not that of [trunk.{name}], which has the same host"));
    }
    // Who must show a certificate is known by the address, before anything is said.
    if trunk.is_mutual && trunk.accept_from.is_empty() {
        let why = "is needed where tls has a ca of its own: who must show a certificate?";
        table.problem("accept_from", why);
    }
    let shares = |other: &&Trunk| {
        let all = trunk.accept_from.iter();
        all.flat_map(|one| other.accept_from.iter().map(move |theirs| (one, theirs)))
            .any(|(one, theirs)| one.contains(theirs.address) || theirs.contains(one.address))
    };
    let differs = |other: &&Trunk| {
        (trunk.is_mutual || other.is_mutual) && trunk.tls.authorities != other.tls.authorities
    };
    if let Some(other) = earlier.iter().filter(differs).find(shares) {
        let name = &other.name;
        let why = format!("holds addresses of [trunk.{name}], which trusts another tls.ca");
        table.problem("accept_from", why);
    }
    if trunk.register && trunk.username.is_empty() {
        table.problem("register", "is true but username is empty: who is to be registered?");
    }
    if trunk.identity.from_user == trunk::FromUser::Username && trunk.username.is_empty() {
        table.problem("from_user", "is \"username\" but username is empty");
    }
    if trunk.caller_id.contains(char::is_whitespace) {
        table.problem("caller_id", format!("\"{}\" contains a space", trunk.caller_id));
    }
    for network in trunk.accept_from.iter().filter(|network| network.is_everybody()) {
        table.problem(
            "accept_from",
            format!("{network} takes calls from anybody: name the addresses of this trunk"),
        );
    }
}

fn routes(root: &Table<'_>, trunks: &[Trunk]) -> Vec<Route> {
    let known: Vec<&str> = trunks.iter().map(|trunk| trunk.name.as_str()).collect();
    let mut routes = Vec::new();
    for table in root.tables("route") {
        let pattern = pattern(&table, "pattern", r"\+?\d+");
        let named = table.strings("trunks");
        if named.as_ref().is_none_or(Vec::is_empty) {
            table.problem("trunks", "is missing: the trunks to try, in order");
        }
        let named = named.unwrap_or_default();
        for item in &named {
            check_known(&table, item.line, "trunks", "trunk", &item.text, &known);
        }
        let route = pattern.map(|pattern| Route {
            pattern,
            trunks: named.into_iter().map(|item| item.text).collect(),
            strip: table.size("strip", 0..=64, 0),
            prefix: table.string("prefix", ""),
        });
        if route.is_none() {
            table.size("strip", 0..=64, 0);
            table.string("prefix", "");
        }
        table.finish();
        routes.extend(route);
    }
    routes
}

fn users(root: &Table<'_>) -> Vec<User> {
    let mut users: Vec<User> = Vec::new();
    for mut table in root.tables("user") {
        let name = name(&mut table, "user", "the phone registers with it");
        let user = User {
            password: table.string("password", ""),
            display_name: table.string("display_name", ""),
            srtp: srtp_of_peer(&table),
            codecs: own_codecs(&table),
            max_calls: table.size("max_calls", 0..=100_000, 0),
            name,
        };
        if user.password.is_empty() && !table.has("password") {
            table.problem("password", "is missing: anybody could register as this user");
        } else if user.password.is_empty() {
            table.problem("password", "is empty: anybody could register as this user");
        }
        if users.iter().any(|other| other.name == user.name) && !user.name.is_empty() {
            table.problem("name", format!("\"{}\" is the name of an earlier user", user.name));
        }
        table.finish();
        users.push(user);
    }
    users
}

/// What rules may name.
struct Known<'a> {
    source: &'a Source<'a>,
    folder: &'a Path,
    script_chars: usize,
    trunks: &'a [Trunk],
    users: &'a [User],
}

fn applications(root: &Table<'_>, known: &Known<'_>) -> Vec<Application> {
    let mut applications: Vec<Application> = Vec::new();
    let mut rule_ids: Vec<u32> = Vec::new();
    // Rules that share a file share its text.
    let mut scripts: HashMap<String, Option<Script>> = HashMap::new();
    for mut table in root.tables("application") {
        let name = name(&mut table, "application", "the Management API shows it");
        let id = required_id(&table);
        if applications.iter().any(|other| other.id == id) && id != 0 {
            table.problem("id", format!("{id} is the id of an earlier application"));
        }
        if applications.iter().any(|other| other.name == name) && !name.is_empty() {
            table.problem("name", format!("\"{name}\" is the name of an earlier application"));
        }
        let secrets = secrets(&table);
        let mut rules: Vec<Rule> = Vec::new();
        for mut table in table.tables("rule") {
            let kind = format!("application.{name}.rule");
            let rule = rule(&mut table, &kind, known, &mut scripts);
            if rule_ids.contains(&rule.id) && rule.id != 0 {
                table.problem("id", format!("{} is the id of an earlier rule", rule.id));
            }
            if rules.iter().any(|other| other.name == rule.name) && !rule.name.is_empty() {
                table.problem("name", format!("\"{}\" is the name of an earlier rule", rule.name));
            }
            table.finish();
            rule_ids.push(rule.id);
            rules.push(rule);
        }
        table.finish();
        applications.push(Application { id, name, rules, secrets });
    }
    applications
}

fn rule(
    table: &mut Table<'_>,
    kind: &str,
    known: &Known<'_>,
    scripts: &mut HashMap<String, Option<Script>>,
) -> Rule {
    let name = name(table, kind, "the Management API shows it");
    let files = table.strings("scenarios").unwrap_or_default();
    if files.is_empty() {
        table.problem("scenarios", "names no file: a rule runs at least one");
    }
    let mut loaded = Vec::new();
    for file in &files {
        let script = scripts.entry(file.text.clone()).or_insert_with(|| load(table, file, known));
        loaded.extend(script.clone());
    }
    let exclude = pattern(table, "exclude", "").filter(|pattern| !pattern.as_str().is_empty());
    Rule {
        id: required_id(table),
        name,
        pattern: pattern(table, "pattern", ".*").unwrap_or_else(nothing),
        exclude,
        from: callers(table, known),
        scripts: loaded.into(),
    }
}

/// Reads one scenario file; a problem is reported where it is named first.
fn load(table: &Table<'_>, file: &Item, known: &Known<'_>) -> Option<Script> {
    let path = Path::new(&file.text);
    let stays_inside = path.components().all(|part| matches!(part, Component::Normal(_)));
    if !stays_inside || file.text.is_empty() {
        table.problem_at(
            file.line,
            format!("scenarios \"{}\" is not a file inside scenarios_dir", file.text),
        );
        return None;
    }
    // UTF-8 takes four bytes for a character at most.
    let longest = known.script_chars.saturating_mul(4);
    let read = (known.source.environment.file)(&known.folder.join(path), longest);
    let read = read.and_then(|read| {
        let chars = read.text.chars().count();
        let limit = known.script_chars;
        if chars > limit {
            return Err(format!("{chars} characters, script_chars allows {limit}"));
        }
        Ok(read)
    });
    match read {
        Ok(read) => Some(Script {
            id: stable_id(&file.text),
            name: file.text.clone(),
            source: read.text.into(),
            modified_unix: read.modified_unix,
        }),
        Err(error) => {
            let folder = known.folder.display();
            let text = format!("scenarios \"{}\" in {folder}: {error}", file.text);
            table.problem_at(file.line, text);
            None
        }
    }
}

/// FNV-1a of the name, 31 bits and never 0 (Management API reference 4.2).
pub fn stable_id(name: &str) -> u32 {
    let hash = name
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash & 0x7fff_ffff).max(1)
}

fn callers(table: &Table<'_>, known: &Known<'_>) -> Vec<From> {
    let Some(items) = table.strings("from") else { return vec![From::Any] };
    let trunks: Vec<&str> = known.trunks.iter().map(|trunk| trunk.name.as_str()).collect();
    let users: Vec<&str> = known.users.iter().map(|user| user.name.as_str()).collect();
    let mut callers = Vec::new();
    for item in items {
        if item.text == "*" {
            callers.push(From::Any);
        } else if let Some(name) = item.text.strip_prefix("trunk:") {
            check_known(table, item.line, "from", "trunk", name, &trunks);
            callers.push(From::Trunk(name.to_owned()));
        } else if let Some(name) = item.text.strip_prefix("user:") {
            check_known(table, item.line, "from", "user", name, &users);
            callers.push(From::User(name.to_owned()));
        } else {
            let text = format!("from \"{}\" is not *, trunk:NAME or user:NAME", item.text);
            table.problem_at(item.line, text);
        }
    }
    callers
}

fn secrets(table: &Table<'_>) -> Vec<(String, String)> {
    let secrets = table.named_strings("secrets");
    for (name, value) in &secrets {
        // Management API reference, section 7.
        if name.len() > 64 || !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            let text = format!("name \"{name}\" does not begin with a letter or is over 64 long");
            table.problem("secrets", text);
        }
        if value.len() > 8192 {
            table.problem("secrets", format!("{name} is over 8192 bytes long"));
        }
    }
    secrets
}

fn check_known(table: &Table<'_>, line: usize, key: &str, kind: &str, name: &str, known: &[&str]) {
    if known.contains(&name) {
        return;
    }
    let hint = match super::read::closest(name, known) {
        Some(known) => format!("did you mean \"{known}\"?"),
        None if known.is_empty() => format!("there is no [[{kind}]]"),
        None => format!("known: {}", known.join(", ")),
    };
    table.problem_at(line, format!("{key} names unknown {kind} \"{name}\"; {hint}"));
}

/// Who could use the Management API of a configuration that is open by mistake? Anybody who
/// reaches the port; calls cost money, so such a configuration is refused.
fn check_danger(table: &Table<'_>, control: &Control) {
    let is_reachable = control.listen.iter().any(|address| !address.ip().is_loopback());
    let is_open = control.allow_from.iter().any(Network::is_everybody);
    if is_reachable && is_open && control.api_key.len() < SAFE_KEY_BYTES {
        table.problem(
            "allow_from",
            format!(
                "lets everybody reach the Management API while api_key has under \
                 {SAFE_KEY_BYTES} characters: name your networks or set a longer key"
            ),
        );
    }
}

fn addresses(table: &Table<'_>, default: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(items) = table.strings("listen") else { return default };
    if items.is_empty() {
        table.problem("listen", "is empty; give at least one, such as 127.0.0.1:8080");
    }
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for item in items {
        match item.text.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 && addresses.contains(&address) => {
                table.problem_at(item.line, format!("listen \"{}\" is twice", item.text));
            }
            Ok(address) => addresses.push(address),
            Err(_) => {
                let text = "is not an address with port, such as 127.0.0.1:8080 or [::1]:8080";
                table.problem_at(item.line, format!("listen \"{}\" {text}", item.text));
            }
        }
    }
    addresses
}

fn networks(table: &Table<'_>, key: &'static str, default: Vec<Network>) -> Vec<Network> {
    let Some(items) = table.strings(key) else { return default };
    let mut networks = Vec::new();
    for item in items {
        match item.text.parse() {
            Ok(network) => networks.push(network),
            Err(wanted) => {
                table.problem_at(item.line, format!("{key} \"{}\" is not {wanted}", item.text));
            }
        }
    }
    networks
}

fn public_url(table: &Table<'_>) -> Option<String> {
    let text = table.string("public_url", "");
    let text = text.trim_end_matches('/');
    if text.is_empty() {
        return None;
    }
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    if rest.is_none_or(|rest| rest.is_empty() || rest.contains([' ', '?', '#'])) {
        let wanted = "is not a URL such as http://192.0.2.1:8080";
        table.problem("public_url", format!("\"{text}\" {wanted}"));
    }
    Some(text.to_owned())
}

/// `udp://0.0.0.0:5060`
fn sip_listen(text: &str) -> Result<SipListen, String> {
    let wanted = || format!("\"{text}\" is not like udp://0.0.0.0:5060 or tcp://[::]:5060");
    let transports = [
        ("udp", SipTransport::Udp),
        ("tcp", SipTransport::Tcp),
        ("tls", SipTransport::Tls),
        ("ws", SipTransport::Ws),
        ("wss", SipTransport::Wss),
    ];
    let (transport, address) = text.split_once("://").ok_or_else(wanted)?;
    let found = transports.iter().find(|(name, _)| *name == transport);
    let &(_, transport) =
        found.ok_or_else(|| format!("transport {}", not_one_of(transport, &transports)))?;
    Ok(SipListen { transport, address: address.parse().map_err(|_| wanted())? })
}

/// `sip:host[:port][;transport=udp|tcp|tls]`, or `sips:`; gives the host, without brackets.
pub(super) fn check_server(text: &str) -> Result<&str, String> {
    let wanted = || format!("\"{text}\" is not like sip:192.0.2.10:5060;transport=udp");
    let secure = text.strip_prefix("sips:");
    let rest = secure.or_else(|| text.strip_prefix("sip:")).ok_or_else(wanted)?;
    let (address, parameter) = match rest.split_once(';') {
        Some((address, parameter)) => (address, Some(parameter)),
        None => (rest, None),
    };
    if let Some(parameter) = parameter {
        let transports = [("udp", ()), ("tcp", ()), ("tls", ())];
        let choices = &transports[usize::from(secure.is_some())..];
        let transport = parameter.strip_prefix("transport=").ok_or_else(wanted)?;
        if !choices.iter().any(|(name, ())| *name == transport) {
            return Err(format!("transport {}", not_one_of(transport, choices)));
        }
    }
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(wanted)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| wanted())?;
            let port = match rest.strip_prefix(':') {
                None if !rest.is_empty() => return Err(wanted()),
                port => port,
            };
            (host, port)
        }
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    if port.is_some_and(|port| port.starts_with('+')) {
        // A number to Rust, but not to a URI.
        return Err(wanted());
    }
    match port.map(str::parse::<u16>) {
        None | Some(Ok(1..)) if is_host(host) => Ok(host),
        None | Some(Ok(1..)) => Err(wanted()),
        Some(_) => Err(format!("\"{text}\" has a port that is not between 1 and 65535")),
    }
}

/// Scheme and host of web pages, as a browser says them (RFC 6454 §6.2).
fn origins(table: &Table<'_>) -> Vec<String> {
    let items = table.strings("ws_origins").unwrap_or_default();
    for item in &items {
        let rest = item.text.strip_prefix("https://").or_else(|| item.text.strip_prefix("http://"));
        if rest.is_none_or(|rest| rest.is_empty() || rest.contains(['/', ' ', '?'])) {
            let text = "is not like https://phone.example.com";
            table.problem_at(item.line, format!("ws_origins \"{}\" {text}", item.text));
        }
    }
    items.into_iter().map(|item| item.text.to_ascii_lowercase()).collect()
}

/// Whether a trunk is reached over TLS for sure; one whose name's records lead there may be.
fn is_tls(server: &str) -> bool {
    server.starts_with("sips:") || server.ends_with(";transport=tls")
}

/// An IP address or a host name by its characters (RFC 3261 §25.1).
pub(super) fn is_host(text: &str) -> bool {
    let is_name = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    !text.is_empty() && (text.parse::<IpAddr>().is_ok() || is_name(text))
}

fn pattern(table: &Table<'_>, key: &'static str, default: &str) -> Option<Pattern> {
    let text = table.string(key, default);
    match Pattern::new(&text) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            table.problem(key, format!("\"{text}\" is not a pattern: {error}"));
            None
        }
    }
}

/// Stands in for a pattern that was reported.
fn nothing() -> Pattern {
    Pattern::new("").expect("the empty pattern is a pattern")
}

/// Reads a table's own name and shows it in its messages from then on.
fn name(table: &mut Table<'_>, kind: &str, meaning: &str) -> String {
    let name = table.required("name", meaning);
    if !name.is_empty() {
        table.rename(format!("[{kind}.{name}]"));
        check_name(table, &name);
    }
    name
}

fn check_name(table: &Table<'_>, name: &str) {
    let is_good = |c: char| c.is_alphanumeric() || "_-.+".contains(c);
    if !name.chars().all(is_good) || name.len() >= 100 {
        let wanted = "is not letters, digits and - _ . + only, under 100 bytes";
        table.problem("name", format!("\"{name}\" {wanted}"));
    }
}

fn required_id(table: &Table<'_>) -> u32 {
    if !table.has("id") {
        table.problem("id", "is missing: a number that stays the same, such as 1");
    }
    id(table, "id", 0)
}

fn id(table: &Table<'_>, key: &'static str, default: u32) -> u32 {
    // Official clients keep ids in 31 bits. The cast holds by the range.
    table.number(key, 1..=0x7fff_ffff, u64::from(default)) as u32
}

fn seconds(
    table: &Table<'_>,
    key: &'static str,
    range: std::ops::RangeInclusive<u64>,
    default: Duration,
) -> Duration {
    Duration::from_secs(table.number(key, range, default.as_secs()))
}

fn texts(items: Option<Vec<Item>>) -> Vec<String> {
    items.into_iter().flatten().map(|item| item.text).collect()
}

/// As the configuration names them.
const CODECS: &[(&str, Codec)] = &[
    ("opus", Codec::Opus),
    ("G722", Codec::G722),
    ("PCMA", Codec::Pcma),
    ("PCMU", Codec::Pcmu),
    ("L16", Codec::L16(L16::Hz16000)),
    ("L16/8000", Codec::L16(L16::Hz8000)),
    ("L16/16000", Codec::L16(L16::Hz16000)),
    ("L16/48000", Codec::L16(L16::Hz48000)),
];

const MIB: u64 = 1 << 20;
const DAY_S: u64 = 24 * 60 * 60;

/// Sessions where the file does not say.
const MOST_SESSIONS: usize = 200;

/// Shortest key that stands alone between the Internet and the trunks: 64 bits in hexadecimal.
const SAFE_KEY_BYTES: usize = 16;
