//! StartScenarios (reference section 3.1).

use std::time::Instant;

use nanoserde::SerJson;

use super::message::{ApiError, Request, Response};
use super::parameters::Parameters;
use super::{Control, Outcome, Waiting, access, configuration};
use crate::config::{Config, Rule};
use crate::gateway::{Gateway, SessionUrls, StartError, StartSession};
use crate::stats;

/// A StartScenarios whose scripts run.
#[derive(Debug)]
pub struct Starting {
    pub cors: Option<String>,
    with_check_url: bool,
}

impl Control {
    pub(super) fn on_start(
        &mut self,
        now: Instant,
        gateway: &mut Gateway,
        parameters: &Parameters,
        request: &Request,
        cors: Option<&str>,
    ) -> Result<Outcome, ApiError> {
        let config = gateway.config();
        let rule_id = rule(config, parameters)?.id;
        let with_check_url = parameters.flag("with_check_url")?;
        if self.starting >= config.limits.start_in_flight {
            stats::STARTS_REFUSED.add(1);
            let error = ApiError::new(340, "too many StartScenarios at one time");
            let answer = Response::error(429, &error).with_header("retry-after", "1");
            return Ok(Outcome::Answer(answer));
        }
        let start = StartSession {
            request: request.id,
            rule_id,
            custom_data: parameters.raw("script_custom_data").unwrap_or_default().to_owned(),
            initiator: request.peer.ip().to_canonical(),
        };
        gateway.start_session(now, start).map_err(|error| match error {
            StartError::UnknownRule => unknown_rule("rule_id"),
            StartError::Full => ApiError::new(314, "no free session: all are in use"),
        })?;
        let starting = Starting { cors: cors.map(str::to_owned), with_check_url };
        self.wait(now, request.id, Waiting::Start(starting));
        Ok(Outcome::Wait)
    }
}

/// The rule that the parameters name, all of them checked.
fn rule<'a>(config: &'a Config, parameters: &Parameters) -> Result<&'a Rule, ApiError> {
    parameters.exclusive("rule_id", "rule_name")?;
    parameters.exclusive("user_id", "user_name")?;
    let application = configuration::application(config, parameters)?;
    let needs_application = |name: &str| match application {
        Some(_) => Ok(()),
        None => Err(ApiError::new(
            101,
            format!("{name} needs application_id or application_name beside it"),
        )),
    };
    if let Some(id) = parameters.number("user_id", 117)? {
        let mut users = config.users.iter();
        if !users.any(|user| u64::from(configuration::id_of(&user.name)) == id) {
            return Err(ApiError::new(393, "no such user_id in this application"));
        }
    }
    if let Some(name) = parameters.text("user_name") {
        needs_application("user_name")?;
        if !config.users.iter().any(|user| user.name == name) {
            return Err(ApiError::new(393, "no such user_name in this application"));
        }
    }
    let mut rules = config
        .applications
        .iter()
        .filter(|one| application.is_none_or(|application| application.id == one.id))
        .flat_map(|application| &application.rules);
    let rule = if let Some(name) = parameters.text("rule_name") {
        needs_application("rule_name")?;
        rules.find(|rule| rule.name == name).ok_or_else(|| unknown_rule("rule_name"))?
    } else {
        parameters.required("rule_id")?;
        let id = parameters.number("rule_id", 147)?;
        rules.find(|rule| Some(u64::from(rule.id)) == id).ok_or_else(|| unknown_rule("rule_id"))?
    };
    match rule.scripts.is_empty() {
        true => Err(ApiError::new(375, "no scenario is bound to this rule")),
        false => Ok(rule),
    }
}

fn unknown_rule(parameter: &str) -> ApiError {
    let code = if parameter == "rule_name" { 156 } else { 147 };
    ApiError::new(code, format!("no rule has this {parameter}"))
}

/// The answer once the scripts ran.
pub fn started(urls: &SessionUrls, starting: &Starting) -> Response {
    let check_url = || format!("{}{}", urls.access_url, access::CHECK);
    let started = Started {
        result: 1,
        media_session_access_url: urls.access_url.clone(),
        media_session_access_secure_url: urls.access_secure_url.clone(),
        media_session_check_url: starting.with_check_url.then(check_url),
        call_session_history_id: urls.session_id,
    };
    Response::json(200, started.serialize_json())
}

#[derive(SerJson)]
struct Started {
    result: u8,
    media_session_access_url: String,
    media_session_access_secure_url: String,
    media_session_check_url: Option<String>,
    call_session_history_id: u64,
}
