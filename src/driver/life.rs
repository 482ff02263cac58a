//! The gateway's own life: ticks, signals, an orderly stop, a new configuration.

use std::sync::Arc;
use std::task::Context;
use std::time::{Duration, Instant};

use smol::Timer;

use super::environment;
use super::reactor::Reactor;
use super::signals::Signal;
use super::stream::Tls;
use crate::config::{Config, Problem};
use crate::gateway::{Input, RequestId};
use crate::logger::{self, Filter};
use crate::stats;

/// How far the gateway's own life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Running,
    /// No new sessions; those that run have until then.
    Draining(Instant),
    /// Every session was told to end; what is left then is dropped.
    Ending(Instant),
}

impl Reactor {
    pub fn hear_signals(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(signal) = self.inbox.signals.take(cx) else { return false };
        match signal {
            Signal::Reload => self.reload(None),
            Signal::Stop => self.stop(),
        }
        true
    }

    /// The first time in order, the second time at once.
    fn stop(&mut self) {
        let now = Instant::now();
        let drain = self.gateway.config().gateway.drain;
        match self.life {
            Life::Running => {
                let sessions = self.gateway.usage().sessions;
                log::info!("stopping: {sessions} sessions have {} s to end", drain.as_secs());
                self.notify.stopping("waiting for sessions to end");
                self.gateway.drain();
                self.life = Life::Draining(now + drain);
            }
            Life::Draining(_) => self.end_sessions(now, AT_ONCE),
            Life::Ending(_) => self.life = Life::Ending(now),
        }
    }

    fn end_sessions(&mut self, now: Instant, patience: Duration) {
        let sessions = self.gateway.usage().sessions;
        if sessions > 0 {
            log::info!("ending {sessions} sessions");
        }
        self.gateway.stop(now);
        self.settle();
        self.life = Life::Ending(now + patience);
    }

    /// Whether the loop may end; the last step of a stop begins when the sessions have ended.
    pub fn is_over(&mut self) -> bool {
        if matches!(self.life, Life::Draining(_)) && self.gateway.is_drained() {
            self.end_sessions(Instant::now(), UNREGISTERED);
        }
        match self.life {
            Life::Running | Life::Draining(_) => false,
            Life::Ending(until) => self.gateway.is_stopped() || Instant::now() >= until,
        }
    }

    /// Deadlines of the gateway and of HTTP requests, and the second's tick.
    pub fn keep_time(&mut self) {
        let now = Instant::now();
        if self.gateway.poll_timeout().is_some_and(|at| at <= now) {
            self.feed(Input::Timeout);
        }
        if self.control.poll_timeout().is_some_and(|at| at <= now) {
            while let Some((request, response)) = self.control.on_timeout(now) {
                self.answer(request, response);
            }
        }
        if self.next_tick <= now {
            self.next_tick = now + TICK;
            self.tick(now);
        }
        let own = [self.gateway.poll_timeout(), self.control.poll_timeout()];
        let next = own.into_iter().flatten().fold(self.next_tick, Instant::min);
        // One that came meanwhile leads to another turn at once.
        self.wakes.deadline.set(Some(next));
    }

    fn tick(&mut self, now: Instant) {
        self.gateway.set_wall(environment::wall_clock());
        self.notify.alive();
        self.replace_stuck_workers(now);
        if let Life::Draining(until) = self.life
            && until <= now
        {
            self.end_sessions(now, IN_ORDER);
        }
    }

    /// Reads the configuration beside the loop; `request`: the HTTP request that wants to know.
    pub fn reload(&mut self, request: Option<RequestId>) {
        log::info!("reading {} again", self.config_path.display());
        let path = self.config_path.clone();
        self.tasks.reload(request, move || super::load(&path));
    }

    /// A bad file changes nothing.
    pub fn take_config(
        &mut self,
        request: Option<RequestId>,
        result: Result<Box<Config>, Vec<Problem>>,
    ) {
        let outcome = match result {
            Ok(config) => {
                self.adopt_config(*config);
                Ok(())
            }
            Err(problems) => {
                log::error!("the configuration is wrong; the gateway goes on with the old one:");
                for problem in &problems {
                    log::error!("{problem}");
                }
                Err(problems.iter().map(Problem::to_string).collect::<Vec<_>>())
            }
        };
        self.gateway.set_last_reload(outcome.clone().map_err(|problems| problems.join("\n")));
        if let Some(request) = request
            && let Some((request, response)) = self.control.on_reloaded(request, outcome)
        {
            self.answer(request, response);
        }
    }

    /// After the loop: the last answers go out, what is to be kept is written.
    pub async fn close(&mut self) {
        self.wakes.deadline.set(None);
        self.udp.clear();
        self.http.stop();
        let deadline = Instant::now() + LAST_ANSWERS;
        while self.http.connections() > 0 && Instant::now() < deadline {
            Timer::after(LOOK).await;
        }
        // The disk thread must not wait for us while we wait for it.
        self.inbox.disk.close();
        self.disk.stop();
    }

    fn replace_stuck_workers(&mut self, now: Instant) {
        let stuck: Vec<usize> =
            (0..self.workers.len()).filter(|&thread| self.workers[thread].check(now)).collect();
        for thread in stuck {
            stats::WORKERS_REPLACED.add(1);
            self.feed(Input::WorkerLost { thread });
        }
    }

    fn adopt_config(&mut self, mut config: Config) {
        if let Ok(filter) = Filter::parse(&config.gateway.log) {
            logger::configure(filter, config.gateway.redact);
        }
        for key in keys_of_the_next_start(self.gateway.config(), &config) {
            log::warn!("{key} changed: it takes effect at the next start");
        }
        config.control.api_key.clone_from(&self.gateway.config().control.api_key);
        let rules: usize = config.applications.iter().map(|one| one.rules.len()).sum();
        let (trunks, users) = (config.trunks.len(), config.users.len());
        match Tls::of(&config) {
            Ok(tls) => self.streams.set_tls(tls),
            Err(error) => log::error!("{error}: TLS stays as it is"),
        }
        self.tasks.configure_dns(config.dns.clone());
        self.gateway.reload(Instant::now(), Arc::new(config));
        self.settle();
        log::info!("configuration taken: {rules} rules, {trunks} trunks, {users} users");
    }
}

/// What sockets, threads and tables are made from.
fn keys_of_the_next_start(old: &Config, new: &Config) -> Vec<&'static str> {
    let changes = [
        ("[gateway] data_dir", old.gateway.data_dir != new.gateway.data_dir),
        (
            "[control] api_key",
            !new.control.api_key.is_empty() && old.control.api_key != new.control.api_key,
        ),
        ("[control] listen", old.control.listen != new.control.listen),
        ("[control] public_url", old.control.public_url != new.control.public_url),
        ("[sip] listen", old.sip.listen != new.sip.listen),
        ("[media] rtp_ports", old.media.rtp_ports != new.media.rtp_ports),
        ("[media] threads", old.media.threads != new.media.threads),
        ("[scenario] threads", old.scenario.threads != new.scenario.threads),
        ("[limits] sessions", old.limits.sessions != new.limits.sessions),
    ];
    changes.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect()
}

const TICK: Duration = Duration::from_secs(1);
/// From the end of `drain_s`: BYE and its answer, with repetitions, and Terminated handlers.
const IN_ORDER: Duration = Duration::from_secs(8);
/// Where no session is left: a REGISTER at each trunk with its challenge and one repetition.
const UNREGISTERED: Duration = Duration::from_secs(2);
/// After a second signal: one BYE.
const AT_ONCE: Duration = Duration::from_secs(1);
/// For clients that have an answer under way; idle connections close at once.
const LAST_ANSWERS: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(5);
