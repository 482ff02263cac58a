// Survey: asks three questions and posts the answers to a web service.
//
// Shows a dialogue written with promises, keys that cut a prompt short, a second chance, and
// Net.httpRequestAsync with retries. Who hangs up early has what is there posted all the same.
//
// Try it: start rule 3 with, URL-encoded,
//   script_custom_data={"number":"7002","url":"http://127.0.0.1:9000/answers"}
// The service gets {"number":"7002","complete":true,"answers":["1","1","1"]}.

const PROMPTS = "file:prompts/"; // in the vendor's cloud: where you put the files, https://...
const CALLER_ID = ""; // "": what the trunk's configuration says
const QUESTIONS = [
  { prompt: "question1.wav", keys: "12345" },
  { prompt: "question2.wav", keys: "12" },
  { prompt: "question3.wav", keys: "12" },
];
const CHANCES = 2; // times each question is asked
const KEY_WAIT_MS = 6000;
const POST_PAUSES_MS = [0, 2000, 5000];

const answers = []; // a key for each question asked so far, null where none fitted
let order;
let finished = false;

VoxEngine.addEventListener(AppEvents.Started, () => {
  try {
    order = JSON.parse(VoxEngine.customData());
  } catch (e) {
    order = null;
  }
  if (!order || !order.number || !order.url) {
    Logger.write('custom data must be JSON: {"number":"...","url":"http://..."}');
    return VoxEngine.terminate();
  }
  const call = VoxEngine.callPSTN(String(order.number), CALLER_ID);
  call.addEventListener(CallEvents.Connected, () => talk(call));
  call.addEventListener(CallEvents.Failed, (e) => finish({ error: `${e.code} ${e.reason}` }));
  call.addEventListener(CallEvents.Disconnected, () => finish({}));
});

VoxEngine.addEventListener(AppEvents.HttpRequest, () => ({ answers }));

async function talk(call) {
  call.handleTones(true);
  for (const question of QUESTIONS) answers.push(await ask(call, question));
  await keyAfter(call, "thanks.wav", 0);
  finish({});
}

async function ask(call, question) {
  for (let chance = 0; chance < CHANCES; chance++) {
    const key = await keyAfter(call, question.prompt, KEY_WAIT_MS);
    if (key && question.keys.includes(key)) return key;
  }
  return null;
}

/** Plays a prompt; the first key, which cuts it short, or "" this long after its end. */
function keyAfter(call, prompt, wait) {
  return new Promise((resolve) => {
    let timer;
    const done = (key) => {
      clearTimeout(timer);
      call.removeEventListener(CallEvents.ToneReceived, pressed);
      call.removeEventListener(CallEvents.PlaybackFinished, played);
      call.stopPlayback();
      resolve(key);
    };
    const pressed = (e) => done(e.tone);
    const played = (e) => {
      if (e.error) Logger.write(`${prompt}: ${e.error}`);
      timer = setTimeout(() => done(""), wait);
    };
    call.addEventListener(CallEvents.ToneReceived, pressed);
    call.addEventListener(CallEvents.PlaybackFinished, played);
    call.startPlayback(PROMPTS + prompt);
  });
}

/** Posts once, however the call ended, then ends the session. */
async function finish(more) {
  if (finished) return;
  finished = true;
  const complete = answers.length === QUESTIONS.length && !answers.includes(null);
  const posted = await post({ number: order.number, complete, answers, ...more });
  Logger.write(posted ? "answers posted" : "answers could not be posted");
  VoxEngine.terminate();
}

async function post(result) {
  for (const pause of POST_PAUSES_MS) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    const answer = await Net.httpRequestAsync(order.url, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      postData: JSON.stringify(result),
      timeout: 10,
    });
    if (answer.code >= 200 && answer.code < 300) return true;
    Logger.write(`post: ${answer.code} ${answer.error || ""}`);
  }
  return false;
}
