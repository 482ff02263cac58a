//! Commands that show the configuration (reference section 4): applications, rules, scenarios,
//! users, the account, and trunks as SIP registrations.

use std::collections::BTreeMap;

use nanoserde::SerJson;

use super::message::ApiError;
use super::parameters::Parameters;
use super::{List, Setup, authorization};
use crate::clock;
use crate::config::{Application, Config, Rule, Script};
use crate::gateway::Gateway;
use crate::rules;

/// The application that `application_id` or `application_name` names, `None` where neither is
/// given. A name may be the full form of section 4.1.
///
/// # Errors
/// 458 for both, 116 and 107 for an unknown one.
pub fn application<'a>(
    config: &'a Config,
    parameters: &Parameters,
) -> Result<Option<&'a Application>, ApiError> {
    parameters.exclusive("application_id", "application_name")?;
    let mut applications = config.applications.iter();
    if let Some(id) = parameters.number("application_id", 116)? {
        let found = applications.find(|application| u64::from(application.id) == id);
        return found.map(Some).ok_or_else(|| ApiError::new(116, "no such application_id"));
    }
    if let Some(name) = parameters.text("application_name") {
        let found = applications.find(|application| {
            application.name == name || extended_name(config, application) == name
        });
        return found.map(Some).ok_or_else(|| ApiError::new(107, "no such application_name"));
    }
    Ok(None)
}

/// A stable id for what the config only names, in the 31 bits that clients keep.
pub fn id_of(name: &str) -> u32 {
    crate::config::stable_id(name)
}

pub fn applications(config: &Config, parameters: &Parameters) -> Result<String, ApiError> {
    let id = parameters.number("application_id", 116)?;
    let name = parameters.text("application_name");
    let with_rules = parameters.flag("with_rules")?;
    let with_scenarios = parameters.flag("with_scenarios")?;
    let matches = |application: &&Application| {
        id.is_none_or(|id| u64::from(application.id) == id)
            && name.is_none_or(|part| contains(&extended_name(config, application), part))
    };
    let item = |application: &Application| ApplicationItem {
        application_id: application.id,
        application_name: application.name.clone(),
        extended_application_name: extended_name(config, application),
        modified: application.rules.iter().filter_map(modified_of_rule).max(),
        secure_record_storage: false,
        rules: with_rules.then(|| {
            let items = application.rules.iter().map(|rule| (application, rule));
            items.map(|(application, rule)| rule_item(application, rule, with_scenarios)).collect()
        }),
    };
    let all = config.applications.iter().filter(matches).map(item).collect();
    Ok(List::of(all, parameters.page()?))
}

pub fn rules(config: &Config, parameters: &Parameters) -> Result<String, ApiError> {
    let application = application(config, parameters)?;
    let id = parameters.number("rule_id", 147)?;
    let name = parameters.text("rule_name");
    let template = parameters.text("template");
    let is_video = parameters.flag("video_conference")?;
    let with_scenarios = parameters.flag("with_scenarios")?;
    let matches = |rule: &Rule| {
        id.is_none_or(|id| u64::from(rule.id) == id)
            && name.is_none_or(|part| contains(&rule.name, part))
            && template.is_none_or(|number| rules::takes(rule, number))
            && !is_video
    };
    let all = config
        .applications
        .iter()
        .filter(|one| application.is_none_or(|application| application.id == one.id))
        .flat_map(|application| application.rules.iter().map(move |rule| (application, rule)))
        .filter(|(_, rule)| matches(rule))
        .map(|(application, rule)| rule_item(application, rule, with_scenarios))
        .collect();
    Ok(List::of(all, parameters.page()?))
}

pub fn scenarios(config: &Config, parameters: &Parameters) -> Result<String, ApiError> {
    let application = application(config, parameters)?;
    let id = parameters.number("scenario_id", 132)?;
    let name = parameters.text("scenario_name");
    let with_script = parameters.flag("with_script")?;
    if with_script && id.is_none() {
        return Err(ApiError::new(101, "with_script needs scenario_id beside it"));
    }
    // Several rules may run one script; by name, so that the order is the same every time.
    let scripts: BTreeMap<&str, &Script> = config
        .applications
        .iter()
        .filter(|one| application.is_none_or(|application| application.id == one.id))
        .flat_map(|application| &application.rules)
        .flat_map(|rule| rule.scripts.iter())
        .map(|script| (script.name.as_str(), script))
        .collect();
    let matches = |script: &&Script| {
        id.is_none_or(|id| u64::from(script.id) == id)
            && name.is_none_or(|part| contains(&script.name, part))
    };
    let all: Vec<ScenarioItem> = scripts
        .into_values()
        .filter(matches)
        .map(|script| ScenarioItem {
            scenario_script: with_script.then(|| script.source.to_string()),
            ..scenario_item(script)
        })
        .collect();
    let page = parameters.page()?;
    let total_count = all.len();
    let result: Vec<ScenarioItem> = all.into_iter().skip(page.offset).take(page.count).collect();
    let list = ScenarioList {
        count: result.len(),
        result,
        total_count,
        application_id: application.map(|application| application.id),
        application_name: application.map(|application| application.name.clone()),
        extended_application_name: application
            .map(|application| extended_name(config, application)),
    };
    Ok(list.serialize_json())
}

pub fn users(gateway: &Gateway, parameters: &Parameters) -> Result<String, ApiError> {
    let config = gateway.config();
    if application(config, parameters)?.is_none() {
        return Err(ApiError::new(101, "application_id or application_name is required"));
    }
    let id = parameters.number("user_id", 117)?;
    let name = parameters.text("user_name");
    let display_name = parameters.text("user_display_name");
    let is_active = parameters.boolean("user_active")?;
    let registered = gateway.users();
    let matches = |item: &UserItem| {
        id.is_none_or(|id| u64::from(item.user_id) == id)
            && name.is_none_or(|part| contains(&item.user_name, part))
            && display_name.is_none_or(|part| contains(&item.user_display_name, part))
            && is_active.unwrap_or(true)
    };
    let item = |user: &crate::config::User| UserItem {
        user_id: id_of(&user.name),
        user_name: user.name.clone(),
        user_display_name: user.display_name.clone(),
        user_active: true,
        parent_accounting: true,
        live_balance: 0,
        balance: 0,
        fixed_balance: 0,
        registered: registered.iter().any(|status| status.name == user.name && status.contacts > 0),
    };
    let mut all: Vec<UserItem> = config.users.iter().map(item).filter(matches).collect();
    match parameters.text("order_by") {
        None => {}
        Some("user_id") => all.sort_by_key(|user| user.user_id),
        Some("user_name") => all.sort_by(|a, b| a.user_name.cmp(&b.user_name)),
        Some("user_display_name") => {
            all.sort_by(|a, b| a.user_display_name.cmp(&b.user_display_name));
        }
        Some(_) => {
            let names = "user_id, user_name, user_display_name";
            return Err(ApiError::new(101, format!("order_by is not one of {names}")));
        }
    }
    Ok(List::of(all, parameters.page()?))
}

pub fn account(config: &Config, setup: &Setup) -> String {
    let control = &config.control;
    let result = AccountItem {
        account_id: control.account_id,
        account_name: control.account_name.clone(),
        account_email: authorization::account_email(control),
        created: clock::utc(setup.started_unix_ms),
        active: true,
        frozen: false,
        balance: 0,
        currency: "USD".into(),
        language_code: "en".into(),
        location: "UTC".into(),
    };
    let url = setup.control_url.as_str();
    let api_address = url.split_once("://").map_or(url, |(_, rest)| rest).to_owned();
    Account { result, api_address }.serialize_json()
}

/// Trunks that register; the id is the trunk's place in the config from 1, as `callSIP` takes it.
pub fn registrations(gateway: &Gateway, parameters: &Parameters) -> Result<String, ApiError> {
    let id = parameters.number("sip_registration_id", 101)?;
    let username = parameters.text("sip_username");
    let proxy = parameters.text("proxy");
    let is_successful = parameters.boolean("successful")?;
    let is_in_progress = parameters.boolean("in_progress")?;
    let is_deactivated = parameters.boolean("deactivated")?;
    let is_persistent = parameters.boolean("is_persistent")?;
    let status_code = parameters.number("status_code", 101)?;
    let status = gateway.trunks();
    let trunks = gateway.config().trunks.iter().zip(status).zip(1_u32..);
    let all: Vec<RegistrationItem> = trunks
        .filter(|((trunk, _), _)| trunk.register)
        .map(|((trunk, status), number)| {
            let (code, message) = status.reason.split_once(' ').unwrap_or_default();
            RegistrationItem {
                sip_registration_id: number,
                sip_username: trunk.username.clone(),
                proxy: host_of(&trunk.server).to_owned(),
                successful: match status.state {
                    "up" => Some(true),
                    "down" => Some(false),
                    _ => None,
                },
                status_code: match status.state {
                    "up" => Some(200),
                    _ => code.parse().ok(),
                },
                error_message: (!message.is_empty()).then(|| message.to_owned()),
                deactivated: false,
                subscription_price: "0".into(),
                is_persistent: true,
            }
        })
        .filter(|item| {
            id.is_none_or(|id| u64::from(item.sip_registration_id) == id)
                && username.is_none_or(|part| contains(&item.sip_username, part))
                && proxy.is_none_or(|part| contains(&item.proxy, part))
                && is_successful.is_none_or(|wanted| item.successful == Some(wanted))
                && is_in_progress.is_none_or(|wanted| item.successful.is_none() == wanted)
                && is_deactivated != Some(true)
                && is_persistent != Some(false)
                && status_code.is_none_or(|code| item.status_code.map(u64::from) == Some(code))
        })
        .collect();
    Ok(List::of(all, parameters.page()?))
}

fn rule_item(application: &Application, rule: &Rule, with_scenarios: bool) -> RuleItem {
    RuleItem {
        rule_id: rule.id,
        application_id: application.id,
        rule_name: rule.name.clone(),
        rule_pattern: rule.pattern.as_str().to_owned(),
        rule_pattern_exclude: rule.exclude.as_ref().map(|exclude| exclude.as_str().to_owned()),
        video_conference: false,
        scenarios: with_scenarios.then(|| rule.scripts.iter().map(scenario_item).collect()),
        modified: modified_of_rule(rule),
    }
}

fn scenario_item(script: &Script) -> ScenarioItem {
    ScenarioItem {
        scenario_id: script.id,
        scenario_name: script.name.clone(),
        scenario_script: None,
        modified: modified(script.modified_unix),
        parent: true,
    }
}

/// A rule is as old as its newest script.
fn modified_of_rule(rule: &Rule) -> Option<String> {
    rule.scripts.iter().map(|script| script.modified_unix).max().and_then(modified)
}

/// Dates that are not known are left out: clients fail on `null` (reference 1.4).
fn modified(unix: i64) -> Option<String> {
    (unix > 0).then(|| clock::utc(unix.saturating_mul(1000)))
}

/// `name.account`, for the cloud's `name.account.domain`.
fn extended_name(config: &Config, application: &Application) -> String {
    format!("{}.{}", application.name, config.control.account_name)
}

/// `sip:192.0.2.10:5060;transport=udp` is at `192.0.2.10:5060`.
fn host_of(server: &str) -> &str {
    let rest = server.split_once(':').map_or(server, |(_, rest)| rest);
    let rest = rest.split(';').next().unwrap_or_default();
    rest.rsplit_once('@').map_or(rest, |(_, host)| host)
}

/// Names are matched by a part of them, in any case.
fn contains(name: &str, part: &str) -> bool {
    name.to_lowercase().contains(&part.to_lowercase())
}

#[derive(SerJson)]
struct ApplicationItem {
    application_id: u32,
    application_name: String,
    extended_application_name: String,
    modified: Option<String>,
    secure_record_storage: bool,
    rules: Option<Vec<RuleItem>>,
}

#[derive(SerJson)]
struct RuleItem {
    rule_id: u32,
    application_id: u32,
    rule_name: String,
    rule_pattern: String,
    rule_pattern_exclude: Option<String>,
    video_conference: bool,
    scenarios: Option<Vec<ScenarioItem>>,
    modified: Option<String>,
}

#[derive(SerJson)]
struct ScenarioItem {
    scenario_id: u32,
    scenario_name: String,
    scenario_script: Option<String>,
    modified: Option<String>,
    parent: bool,
}

#[derive(SerJson)]
struct ScenarioList {
    result: Vec<ScenarioItem>,
    count: usize,
    total_count: usize,
    application_id: Option<u32>,
    application_name: Option<String>,
    extended_application_name: Option<String>,
}

#[derive(SerJson)]
struct UserItem {
    user_id: u32,
    user_name: String,
    user_display_name: String,
    user_active: bool,
    parent_accounting: bool,
    live_balance: u8,
    balance: u8,
    fixed_balance: u8,
    /// Ours: a phone of this user is registered.
    registered: bool,
}

#[derive(SerJson)]
struct Account {
    result: AccountItem,
    api_address: String,
}

#[derive(SerJson)]
struct AccountItem {
    account_id: u32,
    account_name: String,
    account_email: String,
    created: String,
    active: bool,
    frozen: bool,
    balance: u8,
    currency: String,
    language_code: String,
    location: String,
}

#[derive(SerJson)]
struct RegistrationItem {
    sip_registration_id: u32,
    sip_username: String,
    proxy: String,
    successful: Option<bool>,
    status_code: Option<u16>,
    error_message: Option<String>,
    deactivated: bool,
    subscription_price: String,
    is_persistent: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registrar_of_a_trunk_is_its_host_and_port() {
        assert_eq!(host_of("sip:192.0.2.10:5060;transport=udp"), "192.0.2.10:5060");
        assert_eq!(host_of("sip:me@pbx.example.com"), "pbx.example.com");
    }

    #[test]
    fn unknown_dates_are_left_out() {
        assert_eq!(modified(0), None);
        assert_eq!(modified(1_795_348_800), Some("2026-11-22 12:00:00".into()));
    }
}
