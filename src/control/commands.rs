//! Names of the Management API's commands: those that are served, and those that are known but
//! refused (reference section 8).

/// A command of the Management API that this gateway serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    StartScenarios,
    GetApplications,
    GetRules,
    GetScenarios,
    GetUsers,
    GetAccountInfo,
    GetSipRegistrations,
    GetCallHistory,
}

/// What a command's name is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    Served(Command),
    /// Error 104.
    Refused,
    /// Error 103.
    Unknown,
}

/// Names match in any case.
pub fn find(name: &str) -> Named {
    let served = SERVED.iter().find(|(served, _)| served.eq_ignore_ascii_case(name));
    if let Some((_, command)) = served {
        return Named::Served(*command);
    }
    match REFUSED.iter().any(|refused| refused.eq_ignore_ascii_case(name)) {
        true => Named::Refused,
        false => Named::Unknown,
    }
}

const SERVED: &[(&str, Command)] = &[
    ("StartScenarios", Command::StartScenarios),
    ("GetApplications", Command::GetApplications),
    ("GetRules", Command::GetRules),
    ("GetScenarios", Command::GetScenarios),
    ("GetUsers", Command::GetUsers),
    ("GetAccountInfo", Command::GetAccountInfo),
    ("GetSipRegistrations", Command::GetSipRegistrations),
    ("GetCallHistory", Command::GetCallHistory),
];

/// Every other command that the official clients know.
const REFUSED: &[&str] = &[
    "A2PGetSmsHistory",
    "A2PSendSms",
    "ActivateOutboundTestPhoneNumber",
    "AddApplication",
    "AddAuthorizedAccountIP",
    "AddDialogflowKey",
    "AddOutboundTestPhoneNumber",
    "AddPstnBlackListItem",
    "AddPushCredential",
    "AddQueue",
    "AddRule",
    "AddScenario",
    "AddSecret",
    "AddSipWhiteListItem",
    "AddSkill",
    "AddSubUser",
    "AddUser",
    "AddWABPhoneNumber",
    "AppendToCallList",
    "AttachPhoneNumber",
    "BindDialogflowKeys",
    "BindPhoneNumberToApplication",
    "BindPushCredential",
    "BindScenario",
    "BindSipRegistration",
    "BindSkill",
    "BindUserToQueue",
    "CancelCallListBatch",
    "CancelCallListTask",
    "ChangeAccountPlan",
    "CheckAuthorizedAccountIP",
    "ControlSms",
    "CreateCallList",
    "CreateKey",
    "CreateSipRegistration",
    "DeactivatePhoneNumber",
    "DelApplication",
    "DelAuthorizedAccountIP",
    "DelCallerID",
    "DelDialogflowKey",
    "DelKeyValueItem",
    "DelOutboundTestPhoneNumber",
    "DelPstnBlackListItem",
    "DelPushCredential",
    "DelQueue",
    "DelRule",
    "DelScenario",
    "DelSecret",
    "DelSipWhiteListItem",
    "DelSkill",
    "DelSubUser",
    "DelUser",
    "DeleteCallList",
    "DeleteKey",
    "DeleteRecord",
    "DeleteSipRegistration",
    "DeleteWABPhoneNumber",
    "DownloadHistoryReport",
    "DownloadInvoice",
    "EditCallList",
    "EditCallListTask",
    "EditCallListTasksPriority",
    "GetACDHistory",
    "GetACDOperatorStatistics",
    "GetACDOperatorStatusStatistics",
    "GetACDQueueStatistics",
    "GetACDState",
    "GetAccountDocuments",
    "GetAccountInvoices",
    "GetAccountPhoneNumberCountries",
    "GetAccountPlans",
    "GetAccountVerifications",
    "GetActualPhoneNumberRegion",
    "GetAuditLog",
    "GetAuditLogAsync",
    "GetAuthorizedAccountIPs",
    "GetAvailablePlans",
    "GetAvailableRegulations",
    "GetBriefCallHistory",
    "GetCallHistoryAsync",
    "GetCallListDetails",
    "GetCallLists",
    "GetCallerIDs",
    "GetChildrenAccounts",
    "GetCountries",
    "GetCurrencyRate",
    "GetDialogflowKeys",
    "GetHistoryReports",
    "GetKeyRoles",
    "GetKeyValueItem",
    "GetKeyValueItems",
    "GetKeyValueKeys",
    "GetKeys",
    "GetMoneyAmountToCharge",
    "GetNewPhoneNumbers",
    "GetOutboundTestPhoneNumbers",
    "GetPhoneNumberCategories",
    "GetPhoneNumberCountryStates",
    "GetPhoneNumberRegions",
    "GetPhoneNumberReports",
    "GetPhoneNumbers",
    "GetPhoneNumbersAsync",
    "GetPstnBlackList",
    "GetPushCredential",
    "GetQueues",
    "GetRecordStorages",
    "GetRegions",
    "GetRegulationsAddress",
    "GetResourcePrice",
    "GetRoleGroups",
    "GetRoles",
    "GetSQState",
    "GetSecretValue",
    "GetSecrets",
    "GetSipWhiteList",
    "GetSkills",
    "GetSmartQueueDayHistory",
    "GetSmartQueueRealtimeMetrics",
    "GetSmsHistory",
    "GetSubUserRoles",
    "GetSubUsers",
    "GetSubscriptionPrice",
    "GetTransactionHistory",
    "GetTransactionHistoryAsync",
    "GetWABPhoneNumbers",
    "GetZIPCodes",
    "IsAccountPhoneNumber",
    "LinkregulationAddress",
    "RecoverCallList",
    "RemoveKeyRoles",
    "RemoveSubUserRoles",
    "ReorderRules",
    "ReorderScenarios",
    "RequestSmartQueueHistory",
    "SQ_AddQueue",
    "SQ_AddSkill",
    "SQ_BindAgent",
    "SQ_BindSkill",
    "SQ_DelQueue",
    "SQ_DelSkill",
    "SQ_DeleteAgentCustomStatusMapping",
    "SQ_GetAgentCustomStatusMapping",
    "SQ_GetAgents",
    "SQ_GetQueues",
    "SQ_GetSkills",
    "SQ_SetAgentCustomStatusMapping",
    "SQ_SetAgentInfo",
    "SQ_SetQueueInfo",
    "SQ_SetSkillInfo",
    "SQ_UnbindAgent",
    "SQ_UnbindSkill",
    "SendSmsMessage",
    "SetAccountInfo",
    "SetApplicationInfo",
    "SetChildAccountInfo",
    "SetDialogflowKey",
    "SetKeyRoles",
    "SetKeyValueItem",
    "SetPhoneNumberInfo",
    "SetPstnBlackListItem",
    "SetPushCredential",
    "SetQueueInfo",
    "SetRuleInfo",
    "SetScenarioInfo",
    "SetSecretInfo",
    "SetSipWhiteListItem",
    "SetSkillInfo",
    "SetSubUserInfo",
    "SetSubUserRoles",
    "SetUserInfo",
    "SetWABPhoneNumberInfo",
    "StartConference",
    "StopCallListProcessing",
    "UpdateKey",
    "UpdateSipRegistration",
    "VerifyOutboundTestPhoneNumber",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_the_official_clients_is_known() {
        // Reference section 8: the Node client knows 184 commands.
        assert_eq!(SERVED.len() + REFUSED.len(), 184);
    }

    #[test]
    fn names_match_in_any_case() {
        assert_eq!(find("startscenarios"), Named::Served(Command::StartScenarios));
        assert_eq!(find("ADDUSER"), Named::Refused);
        assert_eq!(find("Logon"), Named::Unknown);
        assert_eq!(find(""), Named::Unknown);
    }
}
