//! Between JavaScript values and plain data: texts, bytes and headers of commands, the payloads
//! of events, answers, and what an error says.

use std::string::String as Text;

use rquickjs::{Array, Coerced, Ctx, FromJs, Function, Object, Result, String, TypedArray, Value};

use super::event::{
    CallAlerting, CallEvent, ConferenceEvent, HttpResult, PlayerEvent, RecorderEvent, Started,
    Statistics,
};
use super::worker::{Answer, Script};

/// A text argument; other values as `String(value)` has them.
pub struct Words(pub Text);

impl<'js> FromJs<'js> for Words {
    fn from_js(ctx: &Ctx<'js>, value: Value<'js>) -> Result<Self> {
        let Coerced(text) = Coerced::<String>::from_js(ctx, value)?;
        match text.to_string() {
            Ok(text) => Ok(Self(text)),
            Err(rquickjs::Error::Utf8(_)) => well_formed(ctx, text).map(Self),
            Err(error) => Err(error),
        }
    }
}

/// `String(value)`.
pub fn coerced<'js>(ctx: &Ctx<'js>, value: Value<'js>) -> Result<Text> {
    Words::from_js(ctx, value).map(|Words(text)| text)
}

/// `String(value)`; `None` for undefined and null.
pub fn optional<'js>(ctx: &Ctx<'js>, value: Value<'js>) -> Result<Option<Text>> {
    if value.is_undefined() || value.is_null() {
        return Ok(None);
    }
    coerced(ctx, value).map(Some)
}

/// A text with half a surrogate pair has no UTF-8: U+FFFD stands for the half.
fn well_formed<'js>(ctx: &Ctx<'js>, text: String<'js>) -> Result<Text> {
    let prototype: Object = ctx.globals().get::<_, Object>("String")?.get("prototype")?;
    let method: Function = prototype.get("toWellFormed")?;
    method.call((rquickjs::function::This(text),))
}

/// Bytes from an array of numbers, a typed array or a text (as UTF-8).
pub fn bytes<'js>(ctx: &Ctx<'js>, value: Value<'js>) -> Result<Vec<u8>> {
    if value.is_undefined() || value.is_null() {
        return Ok(Vec::new());
    }
    if let Some(array) = value.as_array() {
        let number = |value: Result<Coerced<f64>>| value.map(|number| number.0 as i64 as u8);
        return array.iter::<Coerced<f64>>().map(number).collect();
    }
    if let Some(object) = value.as_object()
        && let Some(typed) = object.as_typed_array::<u8>()
    {
        return Ok(copied(typed));
    }
    coerced(ctx, value).map(Text::into_bytes)
}

fn copied(typed: &TypedArray<'_, u8>) -> Vec<u8> {
    let object = typed.as_object();
    (0..typed.len()).map(|place| object.get::<_, u8>(place as u32).unwrap_or(0)).collect()
}

/// An array of numbers 0 to 255.
pub fn numbers<'js>(ctx: &Ctx<'js>, bytes: &[u8]) -> Result<Array<'js>> {
    let array = Array::new(ctx.clone())?;
    for (place, byte) in bytes.iter().enumerate() {
        array.set(place, i32::from(*byte))?;
    }
    Ok(array)
}

/// `[[name, value], ...]`.
pub fn pairs<'js>(ctx: &Ctx<'js>, value: Value<'js>) -> Result<Vec<(Text, Text)>> {
    let Some(array) = value.into_array() else { return Ok(Vec::new()) };
    let pair = |pair: Result<Array<'js>>| {
        let pair = pair?;
        Ok((coerced(ctx, pair.get(0)?)?, coerced(ctx, pair.get(1)?)?))
    };
    array.iter::<Array>().map(pair).collect()
}

/// `{ "X-Name": "value" }`.
fn headers<'js>(ctx: &Ctx<'js>, headers: &[(Text, Text)]) -> Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    for (name, value) in headers {
        object.set(name.as_str(), value.as_str())?;
    }
    Ok(object)
}

/// `[{ key, value }, ...]`.
pub fn key_values<'js>(ctx: &Ctx<'js>, headers: &[(Text, Text)]) -> Result<Array<'js>> {
    let array = Array::new(ctx.clone())?;
    for (place, (name, value)) in headers.iter().enumerate() {
        let pair = Object::new(ctx.clone())?;
        pair.set("key", name.as_str())?;
        pair.set("value", value.as_str())?;
        array.set(place, pair)?;
    }
    Ok(array)
}

pub fn started<'js>(ctx: &Ctx<'js>, event: &Started) -> Result<Object<'js>> {
    let payload = Object::new(ctx.clone())?;
    payload.set("accessURL", event.access_url.as_str())?;
    payload.set("accessSecureURL", event.access_secure_url.as_str())?;
    payload.set("accountId", event.account_id)?;
    payload.set("applicationId", event.application_id)?;
    payload.set("logURL", event.log_url.as_str())?;
    payload.set("sessionId", event.session_id as f64)?;
    Ok(payload)
}

pub fn alerting<'js>(ctx: &Ctx<'js>, event: &CallAlerting) -> Result<Object<'js>> {
    let payload = Object::new(ctx.clone())?;
    payload.set("callerid", event.callerid.as_str())?;
    payload.set("destination", event.destination.as_str())?;
    payload.set("toURI", event.to_uri.as_str())?;
    payload.set("fromURI", event.from_uri.as_str())?;
    payload.set("displayName", event.display_name.as_str())?;
    payload.set("headers", headers(ctx, &event.headers)?)?;
    payload.set("scheme", "")?;
    Ok(payload)
}

fn statistics<'js>(ctx: &Ctx<'js>, statistics: &Statistics) -> Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    object.set("codec", statistics.codec)?;
    let known = |mos: f64| if mos > 0.0 { Some(mos) } else { None };
    for (name, value) in [
        ("packetsReceived", Some(statistics.packets_received as f64)),
        ("packetsSent", Some(statistics.packets_sent as f64)),
        ("packetsLost", Some(statistics.packets_lost as f64)),
        ("packetsDiscarded", Some(statistics.packets_discarded as f64)),
        ("concealedMs", Some(statistics.concealed_ms as f64)),
        ("packetsLostByPeer", Some(statistics.lost_by_peer as f64)),
        ("jitterMs", Some(statistics.jitter_ms)),
        ("jitterMostMs", Some(statistics.jitter_most_ms)),
        ("jitterAtPeerMs", Some(statistics.jitter_at_peer_ms)),
        ("roundTripMs", Some(statistics.round_trip_ms)),
        ("mos", known(statistics.mos)),
        ("mosAtPeer", known(statistics.mos_at_peer)),
    ] {
        if let Some(value) = value {
            object.set(name, value)?;
        }
    }
    Ok(object)
}

/// The event's string and what it carries beyond `call`, `name` and `id` (section 6).
pub fn call_event<'js>(ctx: &Ctx<'js>, event: &CallEvent) -> Result<(&'static str, Object<'js>)> {
    let payload = Object::new(ctx.clone())?;
    let with_headers = |received: &[(Text, Text)]| payload.set("headers", headers(ctx, received)?);
    let name = match event {
        CallEvent::Ringing { headers } => {
            with_headers(headers)?;
            "Call.Ringing"
        }
        CallEvent::AudioStarted { headers } => {
            with_headers(headers)?;
            "Call.AudioStarted"
        }
        CallEvent::Connected { headers } => {
            with_headers(headers)?;
            "Call.Connected"
        }
        CallEvent::Disconnected {
            headers,
            internal_code,
            reason,
            duration_s,
            is_incoming,
            statistics: figures,
        } => {
            with_headers(headers)?;
            payload.set("internalCode", *internal_code)?;
            payload.set("reason", reason.as_str())?;
            payload.set("duration", *duration_s as f64)?;
            payload.set("cost", 0)?;
            payload.set("direction", if *is_incoming { "Incoming" } else { "Outgoing" })?;
            if let Some(figures) = figures {
                payload.set("statistics", statistics(ctx, figures)?)?;
            }
            "Call.Disconnected"
        }
        CallEvent::Failed { headers, code, reason } => {
            with_headers(headers)?;
            payload.set("code", *code)?;
            payload.set("reason", reason.as_str())?;
            "Call.Failed"
        }
        CallEvent::Forwarding => "Call.Forwarding",
        CallEvent::AudioQualityDetected { is_hd } => {
            payload.set("quality", if *is_hd { "HD" } else { "Standard" })?;
            "Call.AudioQualityDetected"
        }
        CallEvent::PlaybackReady => "Call.PlaybackReady",
        CallEvent::PlaybackStarted { duration_s } => {
            payload.set("duration", *duration_s)?;
            "Call.PlaybackStarted"
        }
        CallEvent::PlaybackFinished { error } => {
            set_error(&payload, error.as_deref())?;
            "Call.PlaybackFinished"
        }
        CallEvent::ToneReceived { tone, source } => {
            payload.set("tone", tone.to_string())?;
            payload.set("type", source.to_string())?;
            "Call.ToneReceived"
        }
        CallEvent::RecordStarted { url } => {
            payload.set("url", url.as_str())?;
            "Call.RecordStarted"
        }
        CallEvent::RecordStopped { url, duration_s } => {
            payload.set("url", url.as_str())?;
            payload.set("cost", "0")?;
            payload.set("duration", *duration_s as f64)?;
            "Call.RecordStopped"
        }
        CallEvent::RecordError { error } => {
            set_error(&payload, Some(error))?;
            "Call.RecordError"
        }
        CallEvent::OnHold => "Call.OnHold",
        CallEvent::OffHold => "Call.OffHold",
        CallEvent::ReInviteReceived { headers, mime_type, body } => {
            with_headers(headers)?;
            payload.set("mimeType", mime_type.as_str())?;
            payload.set("body", body.as_str())?;
            "Call.ReInviteReceived"
        }
        CallEvent::ReInviteAccepted { headers, mime_type, body } => {
            with_headers(headers)?;
            payload.set("mimeType", mime_type.as_str())?;
            payload.set("body", body.as_str())?;
            "Call.ReInviteAccepted"
        }
        CallEvent::ReInviteRejected { headers, code, reason } => {
            with_headers(headers)?;
            payload.set("code", *code)?;
            payload.set("reason", reason.as_str())?;
            "Call.ReInviteRejected"
        }
        CallEvent::InfoReceived { headers, mime_type, body } => {
            with_headers(headers)?;
            payload.set("mimeType", mime_type.as_str())?;
            payload.set("body", body.as_str())?;
            "Call.InfoReceived"
        }
        CallEvent::MessageReceived { headers, text } => {
            with_headers(headers)?;
            payload.set("text", text.as_str())?;
            "Call.MessageReceived"
        }
        CallEvent::BlindTransferRequested { headers, transfer_to } => {
            with_headers(headers)?;
            payload.set("transferTo", transfer_to.as_str())?;
            "Call.BlindTransferRequested"
        }
        CallEvent::TransferComplete { role } => {
            with_headers(&[])?;
            payload.set("role", *role)?;
            "Call.TransferComplete"
        }
        CallEvent::TransferFailed { role, code, reason } => {
            with_headers(&[])?;
            payload.set("role", *role)?;
            payload.set("code", *code)?;
            payload.set("reason", reason.as_str())?;
            "Call.TransferFailed"
        }
        CallEvent::BeepDetectionComplete { hertz, timeout } => {
            if let Some(hertz) = hertz {
                let frequencies = Array::new(ctx.clone())?;
                frequencies.set(0, i32::from(*hertz))?;
                payload.set("frequencies", frequencies)?;
            }
            if let Some(timeout) = timeout {
                payload.set("timeout", *timeout)?;
            }
            "Call.BeepDetectionComplete"
        }
        CallEvent::FaxDetected { tone } => {
            payload.set("ProgressTone", false)?;
            payload.set("VoicemailTone", false)?;
            payload.set("FaxTone", *tone)?;
            "Call.ToneDetected"
        }
        CallEvent::AudioIdentificationStarted => "Call.AudioIdentificationStarted",
        CallEvent::AudioIdentificationStopped => "Call.AudioIdentificationStopped",
        CallEvent::AudioIdentificationResult { class, confidence } => {
            payload.set("audioType", *class)?;
            payload.set("audioSubType", "NONE")?;
            payload.set("confidence", i32::from(*confidence))?;
            "Call.AudioIdentificationResult"
        }
        CallEvent::MicStatusChange { is_active } => {
            payload.set("active", *is_active)?;
            "Call.MicStatusChange"
        }
        CallEvent::FirstAudioPacketReceived => "Call.FirstAudioPacketReceived",
        CallEvent::RtpStopped => "Call.RtpStopped",
        CallEvent::RtpResumed => "Call.RtpResumed",
    };
    Ok((name, payload))
}

/// The event's string and what it carries beyond `player` and `name` (section 15.1).
pub fn player_event<'js>(
    ctx: &Ctx<'js>,
    event: &PlayerEvent,
) -> Result<(&'static str, Object<'js>)> {
    let payload = Object::new(ctx.clone())?;
    let name = match event {
        PlayerEvent::Created => "Player.Created",
        PlayerEvent::PlaybackReady => "Player.PlaybackReady",
        PlayerEvent::Started { duration_s } => {
            payload.set("duration", *duration_s)?;
            "Player.Started"
        }
        PlayerEvent::Stopped => "Player.Stopped",
        PlayerEvent::PlaybackFinished { error } => {
            set_error(&payload, error.as_deref())?;
            "Player.PlaybackFinished"
        }
        PlayerEvent::Error { error } => {
            set_error(&payload, Some(error))?;
            "Player.Error"
        }
        PlayerEvent::PlaybackMarkerReached { offset_ms } => {
            payload.set("offset", *offset_ms as f64)?;
            "Player.PlaybackMarkerReached"
        }
        PlayerEvent::PlaybackBuffering => "Player.Buffering",
    };
    Ok((name, payload))
}

/// The event's string and what it carries beyond `conference` and `name` (section 19).
pub fn conference_event<'js>(
    ctx: &Ctx<'js>,
    event: &ConferenceEvent,
) -> Result<(Text, Object<'js>)> {
    let payload = Object::new(ctx.clone())?;
    let name = match event {
        ConferenceEvent::Started => "Conference.Started".to_owned(),
        ConferenceEvent::Stopped => "Conference.Stopped".to_owned(),
        ConferenceEvent::Error { code, error, endpoint } => {
            payload.set("code", *code)?;
            set_error(&payload, Some(error))?;
            if let Some(endpoint) = endpoint {
                payload.set("endpointId", endpoint.as_str())?;
            }
            "Conference.Error".to_owned()
        }
        ConferenceEvent::Endpoint { change, endpoint } => {
            payload.set("endpointId", endpoint.as_str())?;
            format!("Conference.Endpoint{change}")
        }
    };
    Ok((name, payload))
}

/// The event's string and what it carries beyond `recorder` and `name` (section 18).
pub fn recorder_event<'js>(
    ctx: &Ctx<'js>,
    event: &RecorderEvent,
) -> Result<(&'static str, Object<'js>)> {
    let payload = Object::new(ctx.clone())?;
    let name = match event {
        RecorderEvent::Started { url } => {
            payload.set("url", url.as_str())?;
            "Recorder.Started"
        }
        RecorderEvent::Stopped { duration_s } => {
            payload.set("cost", "0")?;
            payload.set("duration", *duration_s as f64)?;
            "Recorder.Stopped"
        }
        RecorderEvent::Error { error } => {
            set_error(&payload, Some(error))?;
            "Recorder.Error"
        }
    };
    Ok((name, payload))
}

fn set_error(payload: &Object<'_>, error: Option<&str>) -> Result<()> {
    match error {
        Some(error) => payload.set("error", error),
        None => Ok(()),
    }
}

/// HttpRequestResult (section 21.2).
pub fn http_result<'js>(ctx: &Ctx<'js>, result: &HttpResult, is_raw: bool) -> Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    object.set("code", result.code)?;
    object.set("raw_headers", result.raw_headers.as_str())?;
    object.set("headers", key_values(ctx, &result.headers)?)?;
    let content_type = result
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        .map_or("", |(_, value)| value.as_str());
    if !is_binary(content_type) {
        let charset = parameter(content_type, "charset").unwrap_or("utf-8");
        let text = super::text::decode(&result.body, charset)
            .unwrap_or_else(|| Text::from_utf8_lossy(&result.body).into_owned());
        object.set("text", text)?;
    }
    if is_raw {
        object.set("data", numbers(ctx, &result.body)?)?;
    }
    if !result.error.is_empty() {
        object.set("error", result.error.as_str())?;
    }
    Ok(object)
}

/// Content types whose body is no text.
fn is_binary(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    ["image/", "audio/", "video/"].iter().any(|prefix| kind.starts_with(prefix))
        || ["application/octet-stream", "application/zip", "application/pdf"]
            .contains(&kind.as_str())
}

fn parameter<'a>(content_type: &'a str, name: &str) -> Option<&'a str> {
    content_type.split(';').skip(1).find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

/// What a handler of the access URL returned (section 9.3 of the Management API reference);
/// `None` for undefined.
pub fn answer<'js>(ctx: &Ctx<'js>, value: Value<'js>) -> Option<Answer> {
    if value.is_undefined() {
        return None;
    }
    let answer = if value.is_string() || value.is_number() {
        coerced(ctx, value).map(Answer::Text)
    } else {
        match ctx.json_stringify(value) {
            Ok(Some(json)) => coerced(ctx, json.into_value()).map(Answer::Json),
            Ok(None) => Ok(Answer::Error("the handler's value has no JSON".into())),
            Err(error) => Err(error),
        }
    };
    Some(answer.unwrap_or_else(|_| Answer::Error(Trouble::caught(ctx, &[]).message)))
}

/// What went wrong in a script, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// `TypeError: x is not a function`.
    pub message: Text,
    /// `callback.js:12`.
    pub place: Option<Text>,
    /// Its frames that belong to the scripts.
    pub stack: Text,
}

impl Trouble {
    /// The exception that is pending.
    pub fn caught(ctx: &Ctx<'_>, scripts: &[Script]) -> Self {
        Self::of(ctx, ctx.catch(), scripts)
    }

    pub fn of<'js>(ctx: &Ctx<'js>, value: Value<'js>, scripts: &[Script]) -> Self {
        let object = value.as_object().filter(|object| object.is_error());
        let message = match object {
            Some(error) => {
                let name = property(ctx, error, "name").unwrap_or_else(|| "Error".into());
                match property(ctx, error, "message") {
                    Some(message) if !message.is_empty() => format!("{name}: {message}"),
                    _ => name,
                }
            }
            None if value.is_object() => match ctx.json_stringify(value.clone()) {
                Ok(Some(json)) => json.to_string().unwrap_or_default(),
                _ => "an object".into(),
            },
            None => coerced(ctx, value.clone()).unwrap_or_else(|_| value.type_name().into()),
        };
        let stack = object.and_then(|error| property(ctx, error, "stack")).unwrap_or_default();
        // Reading may have thrown anew; that error is nobody's.
        drop(ctx.catch());
        let own: Vec<&str> =
            stack.lines().filter(|frame| position(frame, scripts).is_some()).collect();
        let place = own.first().and_then(|frame| position(frame, scripts));
        Self { message: clipped(message), place, stack: own.join("\n") }
    }

    /// `callback.js:12: TypeError: x is not a function`.
    pub fn line(&self, scripts: &[Script]) -> Text {
        let fallback =
            || scripts.first().map_or_else(|| "script".into(), |script| script.name.clone());
        format!("{}: {}", self.place.clone().unwrap_or_else(fallback), self.message)
    }

    /// The line, and the frames below it where they say more.
    pub fn text(&self, scripts: &[Script]) -> Text {
        match self.stack.is_empty() {
            true => self.line(scripts),
            false => format!("{}\n{}", self.line(scripts), self.stack),
        }
    }
}

fn property<'js>(ctx: &Ctx<'js>, object: &Object<'js>, name: &str) -> Option<Text> {
    let value: Value = object.get(name).ok()?;
    if value.is_undefined() { None } else { coerced(ctx, value).ok() }
}

/// `file:line` of a frame like `    at name (file:line:column)`, if the file is one of the scripts.
fn position(frame: &str, scripts: &[Script]) -> Option<Text> {
    let frame = frame.trim().strip_prefix("at ")?;
    let inside = match frame.rsplit_once('(') {
        Some((_, inside)) => inside.trim_end_matches(')'),
        None => frame,
    };
    let script = scripts.iter().find(|script| {
        inside.strip_prefix(script.name.as_str()).is_some_and(|rest| rest.starts_with(':'))
    })?;
    let rest = inside.get(script.name.len() + 1..)?;
    let line = rest.split(':').next()?;
    line.bytes().all(|byte| byte.is_ascii_digit()).then(|| format!("{}:{line}", script.name))
}

/// Messages can quote a whole text of the script.
fn clipped(mut message: Text) -> Text {
    if message.len() > MESSAGE_BYTES {
        let end = (0..=MESSAGE_BYTES).rev().find(|place| message.is_char_boundary(*place));
        message.truncate(end.unwrap_or(0));
        message.push_str("...");
    }
    message
}

/// What is kept of an error's message.
const MESSAGE_BYTES: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn scripts() -> Vec<Script> {
        let script = |name: &str| Script { name: name.into(), source: Text::new() };
        vec![script("lib/phones.js"), script("callback.js")]
    }

    #[test]
    fn frames_of_scripts_have_a_place() {
        let scripts = scripts();
        let place = |frame| position(frame, &scripts);
        assert_eq!(place("    at callback.js:3:5"), Some("callback.js:3".into()));
        assert_eq!(place("    at f (lib/phones.js:12:1)"), Some("lib/phones.js:12".into()));
        assert_eq!(place("    at call (native)"), None);
        assert_eq!(place("    at callback.js.map:3:5"), None);
        assert_eq!(place("nonsense"), None);
    }

    #[test]
    fn content_types_tell_text_from_binary() {
        assert!(is_binary("image/png"));
        assert!(is_binary("application/octet-stream; x=y"));
        assert!(!is_binary("application/json"));
        assert!(!is_binary(""));
        assert_eq!(parameter("text/html; Charset=\"koi8-r\"", "charset"), Some("koi8-r"));
        assert_eq!(parameter("text/html", "charset"), None);
    }
}
