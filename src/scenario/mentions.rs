//! Which of the API's rarely used names the scripts of a rule mention.
//!
//! Most sessions use few of them, and each global, guard or refusal costs a session memory and
//! time when it starts; so only those are made whose name occurs in a script's text. A name that
//! a script puts together at run time is not found.

use super::worker::Script;

/// The names that occur, by what the prelude's `link` does with them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mentions {
    /// Globals that a file of the prelude defines on first use: file and name.
    pub globals: Vec<(&'static str, &'static str)>,
    /// Files that give Call and VoxEngine more methods, and the constants that go with them.
    pub files: Vec<&'static str>,
    /// Namespaces of the cloud that this gateway does not have.
    pub missing: Vec<&'static str>,
    /// Methods of VoxEngine and Call that are not there.
    pub refused_of_engine: Vec<&'static str>,
    pub refused_of_call: Vec<&'static str>,
    /// Built-ins that run long without asking whether they may.
    pub guarded_of_array: Vec<&'static str>,
    pub guarded_of_string: Vec<&'static str>,
    /// Whether there is a use for ArrayBuffer and its views: a tenth of what a context costs.
    pub typed_arrays: bool,
}

impl Mentions {
    pub fn of(scripts: &[Script]) -> Self {
        Self::found(|name| scripts.iter().any(|script| script.source.contains(name)))
    }

    pub fn of_text(text: &str) -> Self {
        Self::found(|name| text.contains(name))
    }

    fn found(occurs: impl Fn(&str) -> bool) -> Self {
        let among = |names: &[&'static str]| -> Vec<&'static str> {
            names.iter().copied().filter(|name| occurs(name)).collect()
        };
        let mut guarded_of_array = among(GUARDED_OF_ARRAY);
        // Called by name and by `String(array)`.
        guarded_of_array.push("join");
        Self {
            globals: GLOBALS
                .iter()
                .flat_map(|(file, names)| among(names).into_iter().map(|name| (*file, name)))
                .collect(),
            files: FILES
                .iter()
                .filter(|(_, names)| names.iter().any(|name| occurs(name)))
                .map(|(file, _)| *file)
                .collect(),
            missing: among(MISSING),
            refused_of_engine: among(REFUSED_OF_ENGINE),
            refused_of_call: among(REFUSED_OF_CALL),
            guarded_of_array,
            guarded_of_string: among(GUARDED_OF_STRING),
            typed_arrays: TYPED_ARRAYS.iter().any(|name| occurs(name)),
        }
    }
}

const GLOBALS: &[(&str, &[&str])] = &[
    ("net", &["Net"]),
    (
        "bytes",
        &[
            "base64_encode",
            "base64_decode",
            "bytes2hex",
            "hex2bytes",
            "bytes2str",
            "str2bytes",
            "uuidgen",
            "getLocalTime",
            "levenshtein_distance",
        ],
    ),
    ("crypto", &["Crypto", "md5", "sha1", "sha256"]),
    ("voices", &["VoiceList", "Language", "Premium"]),
    ("app_events", &["AppEvents"]),
    ("call_events", &["CallEvents"]),
    (
        "enums",
        &[
            "Modules",
            "PlayerEvents",
            "SequencePlayerEvents",
            "DTMFType",
            "URLPlayerRequestMethod",
            "RecordExpireTime",
            "CallAudioQuality",
        ],
    ),
    ("function", &["Function"]),
    ("amd", &["AMD"]),
];

/// What typed arrays are mentioned by; the last three find any global.
const TYPED_ARRAYS: &[&str] = &[
    "ArrayBuffer",
    "Atomics",
    "DataView",
    "Int8Array",
    "Uint8Array",
    "Uint8ClampedArray",
    "Int16Array",
    "Uint16Array",
    "Int32Array",
    "Uint32Array",
    "BigInt64Array",
    "BigUint64Array",
    "Float16Array",
    "Float32Array",
    "Float64Array",
    "eval",
    "Function",
    "globalThis",
];

const FILES: &[(&str, &[&str])] = &[
    (
        "conference",
        &[
            "createConference",
            "destroyConference",
            "ConferenceDirection",
            "ConferenceEvents",
            "ConferenceMode",
        ],
    ),
    (
        "transfer",
        &[
            "handleBlindTransfer",
            "notifyBlindTransferSuccess",
            "notifyBlindTransferFailed",
            "transferTo",
        ],
    ),
    ("recorder", &["createRecorder", "RecorderEvents"]),
    ("detect", &["enableBeepDetection", "disableBeepDetection", "detectFaxTone"]),
    ("voice", &["handleMicStatus", "vad"]),
];

const MISSING: &[&str] = &[
    "ACDEvents",
    "AI",
    "ASR",
    "ASRDictionary",
    "ASREvents",
    "ASRLanguage",
    "ASRModel",
    "ASRModelList",
    "ASRProfileList",
    "ApplicationStorage",
    "CCAI",
    "CallList",
    "Cartesia",
    "Deepgram",
    "ElevenLabs",
    "Gemini",
    "Google",
    "IVR",
    "IVRState",
    "Inworld",
    "MCP",
    "MeasurementProtocol",
    "OpenAI",
    "PhoneNumber",
    "Pipecat",
    "PushService",
    "Silero",
    "SmartQueueEvents",
    "SmartQueueOperatorSettingsMode",
    "StreamingAgentEvents",
    "TTSEffectsProfile",
    "TaskWaitingCode",
    "TerminationStatus",
    "TranscriptionProvider",
    "Ultravox",
    "VoxTTS",
    "VoximplantAPI",
    "VoximplantAvatar",
    "WebSocket",
    "WebSocketAudioEncoding",
    "WebSocketCloseCode",
    "WebSocketEvents",
    "WebSocketReadyState",
    "XAI",
    "Yandex",
    "getPhoneNumberInfo",
];

const REFUSED_OF_ENGINE: &[&str] = &[
    "allowWebSocketConnections",
    "callConference",
    "callWhatsappUser",
    "createASR",
    "createStreamingAgent",
    "createWebSocket",
    "disableStatisticsForIncomingWebsockets",
    "disableTraceForIncomingWebsockets",
    "enableStatisticsForIncomingWebsockets",
    "enableTraceForIncomingWebsockets",
    "enqueueACDRequest",
    "enqueueTask",
];

const REFUSED_OF_CALL: &[&str] = &["monitorMediaStatistics"];

/// Of QuickJS 0.16: those that loop over `length` without polling the interrupt handler.
const GUARDED_OF_ARRAY: &[&str] = &[
    "concat",
    "copyWithin",
    "fill",
    "flat",
    "reverse",
    "shift",
    "slice",
    "sort",
    "splice",
    "toLocaleString",
    "toReversed",
    "toSorted",
    "toSpliced",
    "unshift",
    "with",
];

/// Of QuickJS 0.16: those that go through a text character by character.
const GUARDED_OF_STRING: &[&str] = &[
    "includes",
    "indexOf",
    "lastIndexOf",
    "normalize",
    "padEnd",
    "padStart",
    "repeat",
    "replace",
    "replaceAll",
    "split",
    "toLocaleLowerCase",
    "toLocaleUpperCase",
    "toLowerCase",
    "toUpperCase",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_script_names_is_found() {
        let found = Mentions::of_text(
            "Net.httpRequest(url); call.transferTo(x); call.monitorMediaStatistics(); a.slice(1); OpenAI.x",
        );
        assert_eq!(found.globals, [("net", "Net")]);
        // `AI` is part of `OpenAI`; one too many does no harm.
        assert_eq!(found.missing, ["AI", "OpenAI"]);
        assert_eq!(found.files, ["transfer"]);
        assert_eq!(found.refused_of_call, ["monitorMediaStatistics"]);
        assert_eq!(found.refused_of_engine, [""; 0]);
        assert_eq!(found.guarded_of_array, ["slice", "join"]);
        assert_eq!(found.guarded_of_string, [""; 0]);
        assert!(!found.typed_arrays);
    }

    #[test]
    fn typed_arrays_are_there_for_whoever_could_name_them() {
        for text in ["new Uint8Array(8)", "x instanceof ArrayBuffer", "globalThis['Da' + 'taView']"]
        {
            assert!(Mentions::of_text(text).typed_arrays, "{text}");
        }
    }
}
