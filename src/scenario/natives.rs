//! The native functions behind the prelude. They are properties of one object, `host`, that only
//! the prelude's files are given; what a rarely used file needs comes with that file.

use std::rc::Rc;

use data_encoding::{BASE64, BASE64_MIME_PERMISSIVE, BASE64_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use md5::{Digest, Md5};
use ring::{digest, hmac};
use rquickjs::function::{IntoJsFunc, This};
use rquickjs::{
    Array, Coerced, Ctx, Exception, FromJs, Function, Object as JsObject, Result, Value,
};

use super::bytecode;
use super::command::{
    CallPstn, CallSip, Command, ExtraHeaders, HttpRequest, Object, RecordParameters, Sound, Speech,
    UrlSound,
};
use super::convert::{Words, bytes, numbers, optional, pairs};
use super::event::ConferenceEvent;
use super::host::{Carrier, Host};
use super::mentions::Mentions;
use super::text;
use super::worker::Script;

/// Runs the core of the prelude in a new context; its `shared` object.
pub fn install<'js>(ctx: &Ctx<'js>, host: &Rc<Host>, mentions: &Mentions) -> Result<JsObject<'js>> {
    let object = JsObject::new(ctx.clone())?;
    let shared = JsObject::new(ctx.clone())?;
    let natives = Natives { ctx, object: &object, host };
    natives.session()?;
    natives.calls()?;
    natives.calls_out()?;
    natives.loader(&shared)?;
    for file in bytecode::load_core(ctx, &host.account)?.iter::<Function>() {
        file?.call::<_, ()>((object.clone(), shared.clone()))?;
    }
    link(ctx, &shared, mentions)?;
    Ok(shared)
}

/// Makes what the scripts mention.
fn link<'js>(ctx: &Ctx<'js>, shared: &JsObject<'js>, mentions: &Mentions) -> Result<()> {
    let object = JsObject::new(ctx.clone())?;
    let globals = mentions.globals.iter().flat_map(|(file, name)| [*file, *name]);
    object.set("globals", globals.collect::<Vec<_>>())?;
    object.set("files", mentions.files.clone())?;
    object.set("missing", mentions.missing.clone())?;
    object.set("refusedOfEngine", mentions.refused_of_engine.clone())?;
    object.set("refusedOfCall", mentions.refused_of_call.clone())?;
    object.set("guardedOfArray", mentions.guarded_of_array.clone())?;
    object.set("guardedOfString", mentions.guarded_of_string.clone())?;
    shared.get::<_, Function>("link")?.call((object,))
}

struct Natives<'a, 'js> {
    ctx: &'a Ctx<'js>,
    object: &'a JsObject<'js>,
    host: &'a Rc<Host>,
}

impl<'js> Natives<'_, 'js> {
    fn add<P, F>(&self, name: &str, function: F) -> Result<()>
    where
        F: IntoJsFunc<'js, P> + 'js,
    {
        self.object.set(name, Function::new(self.ctx.clone(), function)?)
    }

    /// A function of one object that sends one command.
    fn send(&self, name: &str, command: fn(Object) -> Command) -> Result<()> {
        let host = self.host.clone();
        self.add(name, move |object: Number| host.command(command(object.0)))
    }

    /// A function of one object and one text that sends one command.
    fn send_text(&self, name: &str, command: fn(Object, String) -> Command) -> Result<()> {
        let host = self.host.clone();
        self.add(name, move |object: Number, text: Words| host.command(command(object.0, text.0)))
    }

    /// A function of one object and headers that sends one command.
    fn send_headers(&self, name: &str, command: fn(Object, ExtraHeaders) -> Command) -> Result<()> {
        let host = self.host.clone();
        self.add(name, move |ctx: Ctx<'js>, object: Number, headers: Value<'js>| {
            host.command(command(object.0, extra_headers(&ctx, &host, headers, Carrier::Message)?));
            Result::Ok(())
        })
    }

    /// A function of two objects that sends one command.
    fn send_pair(&self, name: &str, command: fn(Object, Object) -> Command) -> Result<()> {
        let host = self.host.clone();
        self.add(name, move |from: Number, to: Number| host.command(command(from.0, to.0)))
    }

    fn session(&self) -> Result<()> {
        let limits = &self.host.limits;
        // A JavaScript value takes 16 bytes in an array.
        self.object.set("longestArray", (limits.heap_bytes / 8) as f64)?;
        self.object.set("longestSearch", LONGEST_SEARCH)?;
        self.object.set("players", limits.players as f64)?;
        self.object.set("customData", self.host.custom_data.as_str())?;
        let host = self.host.clone();
        self.add("log", move |text: Words| host.log(text.0))?;
        let host = self.host.clone();
        self.add("rest", move |ctx: Ctx<'js>| match host.watch.is_over() {
            true => Err(Exception::throw_message(&ctx, "the callback has had its time")),
            false => Result::Ok(()),
        })?;
        let host = self.host.clone();
        self.add("terminate", move || host.terminate())?;
        let host = self.host.clone();
        self.add("hearHttpRequests", move || host.hear_http_requests())?;
        let host = self.host.clone();
        self.add("nextObject", move || host.next_object())?;
        let host = self.host.clone();
        self.add("secret", move |name: Words| host.secret(&name.0))?;
        let host = self.host.clone();
        self.add("setCustomData", move |value: Words| {
            if value.0.len() > CUSTOM_DATA_BYTES {
                host.log("customData is over 200 bytes: the history keeps its start".into());
            }
            host.command(Command::CustomData { value: value.0 });
        })?;
        let host = self.host.clone();
        self.add("hideTones", move |hidden: bool| host.command(Command::HideTones { hidden }))?;
        let host = self.host.clone();
        self.add("addTimer", move |delay_ms: f64, repeats: bool| {
            host.add_timer(delay_ms, repeats)
        })?;
        let host = self.host.clone();
        self.add("evaluate", move |ctx: Ctx<'js>, this: This<JsObject<'js>>, source: Words| {
            link(&ctx, &this.0.get("shared")?, &Mentions::of_text(&source.0))?;
            evaluate(&ctx, &host, source.0)
        })?;
        let host = self.host.clone();
        self.add("clearTimer", move |id: Number| host.clear_timer(id.0))
    }

    fn calls(&self) -> Result<()> {
        self.send_headers("ring", |call, headers| Command::Ring { call, headers })?;
        self.send_headers("startEarlyMedia", |call, headers| Command::StartEarlyMedia {
            call,
            headers,
        })?;
        self.send_headers("hangup", |call, headers| Command::Hangup { call, headers })?;
        self.send("stopPlayback", |call| Command::StopPlayback { call })?;
        self.send_text("progressTone", |call, country| Command::ProgressTone { call, country })?;
        self.send_text("sendDigits", |call, digits| Command::SendDigits { call, digits })?;
        self.send_text("callCustomData", |call, value| Command::CallCustomData { call, value })?;
        self.send_pair("sendMediaTo", |from, to| Command::SendMediaTo { from, to })?;
        self.send_pair("stopMediaTo", |from, to| Command::StopMediaTo { from, to })?;
        let host = self.host.clone();
        let answer = move |ctx: Ctx<'js>, call: Number, headers: Value<'js>, name: Value<'js>| {
            let headers = extra_headers(&ctx, &host, headers, Carrier::Message)?;
            let display_name = optional(&ctx, name)?;
            host.command(Command::Answer { call: call.0, headers, display_name });
            Result::Ok(())
        };
        self.add("answer", answer)?;
        let host = self.host.clone();
        self.add("reject", move |ctx: Ctx<'js>, call: Number, code: f64, headers: Value<'js>| {
            let headers = extra_headers(&ctx, &host, headers, Carrier::Message)?;
            host.command(Command::Reject { call: call.0, status: code as u16, headers });
            Result::Ok(())
        })?;
        let host = self.host.clone();
        self.add("playback", move |ctx: Ctx<'js>, call: Number, sound: JsObject<'js>, looped| {
            let sound = sound_of(&ctx, &sound)?;
            host.command(Command::Playback { call: call.0, sound, looped });
            Result::Ok(())
        })?;
        let host = self.host.clone();
        self.add("failPlayback", move |call: Number, error: Words| {
            host.fail_playback(call.0, error.0);
        })?;
        let host = self.host.clone();
        self.add("failRecording", move |call: Number, error: Words| {
            host.fail_recording(call.0, error.0);
        })?;
        let host = self.host.clone();
        let record = move |ctx: Ctx<'js>,
                           call: Number,
                           stereo: bool,
                           hd_audio: bool,
                           prefix: Value<'js>,
                           expire: Value<'js>| {
            let name_prefix = optional(&ctx, prefix)?;
            let expire = optional(&ctx, expire)?;
            let parameters = RecordParameters { stereo, hd_audio, name: None, name_prefix, expire };
            host.command(Command::RecordCall { call: call.0, parameters });
            Result::Ok(())
        };
        self.add("record", record)?;
        let host = self.host.clone();
        self.add("handleTones", move |call: Number, telephone_event, in_band, info| {
            let call = call.0;
            host.command(Command::HandleTones { call, telephone_event, in_band, info });
        })?;
        let host = self.host.clone();
        self.add("sendMessage", move |call: Number, text: Words| {
            let fits = text.0.len() <= IN_DIALOG_BYTES;
            if fits {
                host.command(Command::SendMessage { call: call.0, text: text.0 });
            }
            fits
        })?;
        let host = self.host.clone();
        let info = move |ctx: Ctx<'js>, call: Number, kind: Words, body: Words, headers| {
            let fits = kind.0.len() <= MIME_TYPE_BYTES && body.0.len() <= IN_DIALOG_BYTES;
            if fits {
                let headers = extra_headers(&ctx, &host, headers, Carrier::Message)?;
                let (mime_type, body) = (kind.0, body.0);
                host.command(Command::SendInfo { call: call.0, mime_type, body, headers });
            }
            Result::Ok(fits)
        };
        self.add("sendInfo", info)?;
        let host = self.host.clone();
        let change = move |ctx: Ctx<'js>, call: Number, kind: Words, body: Words, headers| {
            let fits = kind.0.len() <= MIME_TYPE_BYTES && body.0.len() <= IN_DIALOG_BYTES;
            if fits {
                let headers = extra_headers(&ctx, &host, headers, Carrier::Message)?;
                let (mime_type, body) = (kind.0, body.0);
                host.command(Command::ReInvite { call: call.0, headers, mime_type, body });
            }
            Result::Ok(fits)
        };
        self.add("reInvite", change)
    }

    fn calls_out(&self) -> Result<()> {
        let host = self.host.clone();
        let pstn = move |ctx: Ctx<'js>,
                         call: Number,
                         number: Words,
                         callerid: Value<'js>,
                         follow_diversion: bool,
                         headers: Value<'js>| {
            let parameters = CallPstn {
                call: call.0,
                number: number.0,
                callerid: optional(&ctx, callerid)?,
                follow_diversion,
                headers: extra_headers(&ctx, &host, headers, Carrier::Call)?,
            };
            host.command(Command::CallPstn(Box::new(parameters)));
            Result::Ok(())
        };
        self.add("callPstn", pstn)?;
        let host = self.host.clone();
        let sip = move |ctx: Ctx<'js>,
                        call: Number,
                        to: Words,
                        callerid: Value<'js>,
                        options: JsObject<'js>| {
            let text = |name: &str| optional(&ctx, options.get(name)?);
            let registration: Option<Coerced<f64>> = options.get("regId")?;
            let parameters = CallSip {
                call: call.0,
                to: to.0,
                registration: registration.map(|number| number.0 as u32).filter(|id| *id > 0),
                callerid: optional(&ctx, callerid)?,
                display_name: text("displayName")?,
                auth_user: text("authUser")?,
                password: text("password")?,
                headers: extra_headers(&ctx, &host, options.get("headers")?, Carrier::Call)?,
                out_proxy: text("outProxy")?,
            };
            host.command(Command::CallSip(Box::new(parameters)));
            Result::Ok(())
        };
        self.add("callSip", sip)?;
        let host = self.host.clone();
        let user = move |ctx: Ctx<'js>,
                         call: Number,
                         username: Words,
                         callerid: Words,
                         display_name: Value<'js>,
                         headers: Value<'js>| {
            let display_name = optional(&ctx, display_name)?;
            let headers = extra_headers(&ctx, &host, headers, Carrier::CallToUser)?;
            let (call, username, callerid) = (call.0, username.0, callerid.0);
            host.command(Command::CallUser { call, username, callerid, display_name, headers });
            Result::Ok(())
        };
        self.add("callUser", user)
    }

    /// `host.load(file)`: runs a file of the prelude, once, with the natives that it needs.
    fn loader(&self, shared: &JsObject<'js>) -> Result<()> {
        let host = self.host.clone();
        // `shared` is a property of `host`: a native closure that held it would be a cycle that
        // the collector of QuickJS does not see.
        let function = Function::new(
            self.ctx.clone(),
            move |ctx: Ctx<'js>, this: This<JsObject<'js>>, name: Words| {
                let object = this.0;
                let shared: JsObject<'js> = object.get("shared")?;
                let natives = Natives { ctx: &ctx, object: &object, host: &host };
                if name.0 != "vendor" {
                    let loaded = format!("loaded:{}", name.0);
                    if object.contains_key(loaded.as_str())? {
                        return Ok(());
                    }
                    object.set(loaded.as_str(), true)?;
                }
                match name.0.as_str() {
                    "player" => natives.players()?,
                    "net" => natives.http()?,
                    "bytes" => natives.texts()?,
                    "crypto" => natives.hashes()?,
                    "transfer" => natives.transfers()?,
                    "detect" | "amd" => natives.detections()?,
                    "conference" => natives.conferences()?,
                    "recorder" => natives.recorders()?,
                    "voice" => natives.voices()?,
                    _ => {}
                }
                let file = bytecode::load(&ctx, &name.0, &host.account)?;
                file.call::<_, ()>((object.clone(), shared))
            },
        )?;
        self.object.set("load", function)?;
        self.object.set("shared", shared.clone())
    }

    fn players(&self) -> Result<()> {
        self.send("pausePlayer", |player| Command::PausePlayer { player })?;
        self.send("resumePlayer", |player| Command::ResumePlayer { player })?;
        self.send("stopPlayer", |player| Command::StopPlayer { player })?;
        let host = self.host.clone();
        self.add("addMarker", move |player: Number, part: Number, offset: f64| {
            let (player, part) = (player.0, part.0 as usize);
            host.command(Command::AddMarker { player, part, offset_ms: offset as i64 });
        })?;
        let host = self.host.clone();
        let create_sequence = move |ctx: Ctx<'js>, player: Number, sounds: Vec<JsObject<'js>>| {
            let part = |sound: &JsObject<'js>| match optional(&ctx, sound.get("error")?)? {
                Some(error) => Result::Ok(Err(error)),
                None => sound_of(&ctx, sound).map(Ok),
            };
            let parts = sounds.iter().map(part).collect::<Result<_>>()?;
            host.command(Command::CreateSequence { player: player.0, parts });
            Result::Ok(())
        };
        self.add("createSequence", create_sequence)?;
        let host = self.host.clone();
        self.add("failPlayer", move |player: Number, error: Words| {
            host.fail_player(player.0, error.0);
        })?;
        let host = self.host.clone();
        let create = move |ctx: Ctx<'js>,
                           player: Number,
                           sound: JsObject<'js>,
                           looped: bool,
                           paused: bool| {
            let sound = sound_of(&ctx, &sound)?;
            host.command(Command::CreatePlayer { player: player.0, sound, looped, paused });
            Result::Ok(())
        };
        self.add("createPlayer", create)
    }

    fn http(&self) -> Result<()> {
        let host = self.host.clone();
        let request = move |ctx: Ctx<'js>, options: JsObject<'js>, is_raw: bool| {
            let seconds = |name: &str| Result::Ok(options.get::<_, Coerced<f64>>(name)?.0);
            let request = HttpRequest {
                request: 0,
                url: options.get::<_, Words>("url")?.0,
                method: options.get::<_, Words>("method")?.0,
                headers: pairs(&ctx, options.get("headers")?)?,
                body: bytes(&ctx, options.get("body")?)?,
                connect_timeout_s: seconds("connectTimeout")?,
                timeout_s: seconds("timeout")?,
            };
            Result::Ok(host.http_request(Box::new(request), is_raw))
        };
        self.add("httpRequest", request)
    }

    fn texts(&self) -> Result<()> {
        self.add("base64Encode", |ctx: Ctx<'js>, data: Value<'js>| {
            Result::Ok(BASE64.encode(&bytes(&ctx, data)?))
        })?;
        self.add("base64Decode", |ctx: Ctx<'js>, text: Words| {
            numbers(&ctx, &from_base64(&ctx, &text.0)?)
        })?;
        self.add("hexEncode", |ctx: Ctx<'js>, data: Value<'js>| {
            Result::Ok(HEXLOWER.encode(&bytes(&ctx, data)?))
        })?;
        self.add("hexDecode", |ctx: Ctx<'js>, text: Words| {
            let bytes = HEXLOWER_PERMISSIVE.decode(text.0.trim().as_bytes());
            match bytes {
                Ok(bytes) => numbers(&ctx, &bytes),
                Err(_) => Err(Exception::throw_message(&ctx, "hex2bytes: not a hexadecimal text")),
            }
        })?;
        self.add("decode", |ctx: Ctx<'js>, data: Value<'js>, charset: Words| {
            let decoded = text::decode(&bytes(&ctx, data)?, &charset.0);
            decoded.ok_or_else(|| unknown_charset(&ctx, &charset.0))
        })?;
        self.add("encode", |ctx: Ctx<'js>, data: Words, charset: Words| {
            let encoded = text::encode(&data.0, &charset.0);
            numbers(&ctx, &encoded.ok_or_else(|| unknown_charset(&ctx, &charset.0))?)
        })?;
        let host = self.host.clone();
        self.add("uuid", move || uuid(host.random_bytes()))?;
        self.add("localTime", |ctx: Ctx<'js>, zone: Words, unix_ms: f64| {
            local_time(&zone.0, unix_ms).ok_or_else(|| {
                let text = format!("getLocalTime: \"{}\" is not a known time zone", zone.0);
                Exception::throw_range(&ctx, &text)
            })
        })
    }

    fn transfers(&self) -> Result<()> {
        let host = self.host.clone();
        self.add("handleBlindTransfer", move |call: Number, handle: bool| {
            host.command(Command::HandleBlindTransfer { call: call.0, handle });
        })?;
        let host = self.host.clone();
        self.add("notifyTransfer", move |call: Number, status: f64, reason: Words| {
            let reason = reason.0.chars().take(REASON_CHARS).collect();
            let (call, status) = (call.0, status as u16);
            host.command(Command::NotifyTransfer { call, status, reason });
        })?;
        let host = self.host.clone();
        let transfer = move |ctx: Ctx<'js>, call: Number, to: Words, other: Number, headers| {
            let headers = extra_headers(&ctx, &host, headers, Carrier::CallToUser)?;
            let other = Some(other.0).filter(|other| *other > 0);
            host.command(Command::TransferTo { call: call.0, to: to.0, other, headers });
            Result::Ok(())
        };
        self.add("transferTo", transfer)
    }

    fn detections(&self) -> Result<()> {
        let host = self.host.clone();
        let beep = move |call: Number, frequencies: Array<'js>, timeout_ms: f64| {
            let hertz = frequencies.iter::<Coerced<f64>>().take(MOST_FREQUENCIES);
            let frequencies = hertz.map(|hertz| hertz.map(|hertz| hertz.0 as u16));
            let frequencies = frequencies.collect::<Result<_>>()?;
            let timeout_ms = timeout_ms as u32;
            host.command(Command::DetectBeep { call: call.0, frequencies, timeout_ms });
            Result::Ok(())
        };
        self.add("detectBeep", beep)?;
        self.send("stopBeepDetection", |call| Command::StopBeepDetection { call })?;
        self.send("detectFax", |call| Command::DetectFax { call })?;
        let host = self.host.clone();
        let answer = move |call: Number, timeout_ms: f64, human: f64, voicemail: f64| {
            let (human, voicemail) = (human as u8, voicemail as u8);
            let (call, timeout_ms) = (call.0, timeout_ms as u32);
            host.command(Command::DetectAnswer { call, timeout_ms, human, voicemail });
        };
        self.add("detectAnswer", answer)
    }

    fn voices(&self) -> Result<()> {
        let host = self.host.clone();
        self.add("handleMicStatus", move |call: Number, handle: bool| {
            host.command(Command::HandleMicStatus { call: call.0, handle });
        })
    }

    fn conferences(&self) -> Result<()> {
        self.send("stopConference", |conference| Command::StopConference { conference })?;
        let host = self.host.clone();
        self.add("createConference", move |conference: Number, hd_audio: bool| {
            host.command(Command::CreateConference { conference: conference.0, hd_audio });
        })?;
        let host = self.host.clone();
        self.add("endpointChanged", move |conference: Number, change: Words, id: Words| {
            let event = ConferenceEvent::Endpoint { change: change.0, endpoint: id.0 };
            host.conference_event(conference.0, event);
        })?;
        let host = self.host.clone();
        self.add("endpointRefused", move |conference: Number, id: Words, error: Words| {
            let (code, error, endpoint) = (ENDPOINT_REFUSED, error.0, Some(id.0));
            host.conference_event(conference.0, ConferenceEvent::Error { code, error, endpoint });
        })
    }

    fn recorders(&self) -> Result<()> {
        self.send("stopRecorder", |recorder| Command::StopRecorder { recorder })?;
        let host = self.host.clone();
        self.add("muteRecorder", move |recorder: Number, muted: bool| {
            host.command(Command::MuteRecorder { recorder: recorder.0, muted });
        })?;
        let host = self.host.clone();
        self.add("failRecorder", move |recorder: Number, error: Words| {
            host.fail_recorder(recorder.0, error.0);
        })?;
        let host = self.host.clone();
        let create = move |ctx: Ctx<'js>,
                           recorder: Number,
                           hd_audio: bool,
                           name: Value<'js>,
                           prefix: Value<'js>,
                           expire: Value<'js>| {
            let name = optional(&ctx, name)?;
            let name_prefix = optional(&ctx, prefix)?;
            let expire = optional(&ctx, expire)?;
            let parameters =
                RecordParameters { stereo: false, hd_audio, name, name_prefix, expire };
            host.command(Command::CreateRecorder { recorder: recorder.0, parameters });
            Result::Ok(())
        };
        self.add("createRecorder", create)
    }

    fn hashes(&self) -> Result<()> {
        self.add("md5", |text: Words| HEXLOWER.encode(&Md5::digest(text.0.as_bytes())))?;
        self.add("sha1", |text: Words| {
            let algorithm = &digest::SHA1_FOR_LEGACY_USE_ONLY;
            HEXLOWER.encode(digest::digest(algorithm, text.0.as_bytes()).as_ref())
        })?;
        self.add("sha256", |text: Words| {
            HEXLOWER.encode(digest::digest(&digest::SHA256, text.0.as_bytes()).as_ref())
        })?;
        self.add("hmacSha256", |key: Words, text: Words| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, key.0.as_bytes());
            HEXLOWER.encode(hmac::sign(&key, text.0.as_bytes()).as_ref())
        })
    }
}

/// `eval` in the global scope.
fn evaluate<'js>(ctx: &Ctx<'js>, host: &Host, source: String) -> Result<Value<'js>> {
    if source.len() > EVAL_BYTES {
        return Err(Exception::throw_range(ctx, "eval: the text is longer than 64 KiB"));
    }
    let script = Script { name: "eval".into(), source };
    let bytecode = bytecode::compile_script(&script).map_err(|trouble| {
        let message = trouble.message;
        Exception::throw_syntax(ctx, message.strip_prefix("SyntaxError: ").unwrap_or(&message))
    })?;
    bytecode::run(ctx, &bytecode, &host.account)
}

/// The number of an object, timer or request, as the runtime gave it out.
struct Number(u32);

impl<'js> FromJs<'js> for Number {
    fn from_js(_ctx: &Ctx<'js>, value: Value<'js>) -> Result<Self> {
        // A script can only bring an id of a timer here, and it may be anything.
        Ok(Self(value.as_number().map_or(0, |number| number as u32)))
    }
}

/// `{ "X-Name": value }`, values as `String(value)` has them.
fn extra_headers<'js>(
    ctx: &Ctx<'js>,
    host: &Host,
    headers: Value<'js>,
    carrier: Carrier,
) -> Result<ExtraHeaders> {
    let Some(object) = headers.as_object() else { return Ok(ExtraHeaders::new()) };
    let mut pairs = Vec::new();
    for entry in object.props::<String, Value>() {
        let (name, value) = entry?;
        pairs.push((name, Words::from_js(ctx, value)?.0));
    }
    Ok(host.checked_headers(pairs, carrier))
}

/// What `shared.speech`, `shared.urlSound` and tone scripts look like.
fn sound_of<'js>(ctx: &Ctx<'js>, sound: &JsObject<'js>) -> Result<Sound> {
    if let Some(script) = optional(ctx, sound.get("tone")?)? {
        return Ok(Sound::Tone(script));
    }
    if let Some(url) = optional(ctx, sound.get("url")?)? {
        let method = optional(ctx, sound.get("method")?)?.unwrap_or_default();
        let headers = pairs(ctx, sound.get("headers")?)?;
        let text: Value = sound.get("base64")?;
        let body = match optional(ctx, text)? {
            Some(text) => from_base64(ctx, &text)?,
            None => bytes(ctx, sound.get("body")?)?,
        };
        let progressive = sound.get::<_, Option<bool>>("progressive")?.unwrap_or_default();
        return Ok(Sound::Url(UrlSound { url, method, headers, body, progressive }));
    }
    Ok(Sound::Speech(Speech {
        text: sound.get::<_, Words>("text")?.0,
        voice: sound.get::<_, Words>("voice")?.0,
        rate: sound.get::<_, Coerced<f64>>("rate")?.0 as f32,
    }))
}

fn from_base64(ctx: &Ctx<'_>, text: &str) -> Result<Vec<u8>> {
    let clean: String = text.chars().filter(|c| !c.is_whitespace() && *c != '=').collect();
    let decoded = BASE64_NOPAD.decode(clean.as_bytes());
    decoded
        .or_else(|_| BASE64_MIME_PERMISSIVE.decode(text.as_bytes()))
        .map_err(|_| Exception::throw_message(ctx, "base64_decode: not a base64 text"))
}

fn unknown_charset(ctx: &Ctx<'_>, name: &str) -> rquickjs::Error {
    Exception::throw_range(ctx, &format!("the encoding \"{name}\" is not supported"))
}

/// RFC 9562 §5.4: version 4, random.
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    let hex = HEXLOWER.encode(&bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Unix time whose UTC fields show what the clocks of `zone` show at `unix_ms`.
fn local_time(zone: &str, unix_ms: f64) -> Option<f64> {
    let zone = jiff::tz::TimeZone::get(zone).ok()?;
    if unix_ms.is_nan() {
        return Some(unix_ms);
    }
    let time = jiff::Timestamp::from_millisecond(unix_ms as i64).ok()?;
    Some(unix_ms + f64::from(zone.to_offset(time).seconds()) * 1000.0)
}

/// Characters of a text times characters of a needle: about a second's worth of comparing.
const LONGEST_SEARCH: f64 = 1e9;
/// Section 19: an endpoint that cannot be added.
const ENDPOINT_REFUSED: u16 = 102;
/// What one `eval` may compile.
const EVAL_BYTES: usize = 64 << 10;
/// Section 1.6: body of sendInfo and sendMessage; of reInvite too.
const IN_DIALOG_BYTES: usize = 8192;
const MIME_TYPE_BYTES: usize = 200;
/// That a beep may have.
const MOST_FREQUENCIES: usize = 8;
/// Of a reason phrase.
const REASON_CHARS: usize = 100;
/// Section 1.6: what the history keeps of customData.
const CUSTOM_DATA_BYTES: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_has_version_and_variant_of_rfc_9562() {
        assert_eq!(uuid([0xFF; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
    }

    #[test]
    fn local_time_follows_daylight_saving() {
        // 2026-07-01 12:00 UTC is 14:00 in Berlin, 2026-01-01 12:00 UTC is 13:00.
        assert_eq!(local_time("Europe/Berlin", 1_782_907_200_000.0), Some(1_782_914_400_000.0));
        assert_eq!(local_time("Europe/Berlin", 1_767_268_800_000.0), Some(1_767_272_400_000.0));
        assert_eq!(local_time("Mars/Olympus", 0.0), None);
    }
}
