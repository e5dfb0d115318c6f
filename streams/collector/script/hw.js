/* headwater's browser script: tells the collector of page views, conversions and consent (docs/browser-script.md).
 *
 * Rules:
 * - The page comes first: nothing here throws into it or waits, whatever the page or the browser forbids.
 * - An event is kept (memory, and localStorage where that is allowed) until the collector has said yes. It may arrive
 *   twice; it bears the same event_id and counts once. So whatever is in doubt is sent again.
 * - The script reports addresses and referrers, the core judges them (contract, section 3, rule 2). What a visit's
 *   address stated once (UTM parameters, click ids) is not stated again by a move inside the page or a return to it.
 * - Where consent is denied or Global Privacy Control is on: an id of its own for every event, and nothing stored but
 *   the choice itself (and the denial, until it has been told).
 *
 * `make script` builds hw.min.js, which is served: at most 2,048 bytes gzipped. So: short code, names as long as they
 * need to be (esbuild shortens them), `let` alone (one keyword gzips better than two), and ES2018.
 */
(() => {
  let early = window.hw || {};
  if (early.v) return; // included twice: the first one works

  let attempt = (action, ...values) => {
    try {
      return action(...values);
    } catch (error) {
      // The page must not suffer from us.
    }
  };
  let listen = (target, name, action) => target.addEventListener(name, (event) => attempt(action, event));

  let begun;
  let waiting = early.q || [];
  let hw = (window.hw = (...call) => (begun ? attempt(obey, call) : waiting.push(call)));
  hw.v = 1;
  hw.q = { push: (call) => hw(...call) }; // whoever still holds the snippet's function

  let script = document.currentScript || document.querySelector("[src*='hw.js']") || {};
  let options = script.dataset || {};
  let stated = { site: options.site || location.hostname };

  // --- who it is

  let random = () => {
    let bytes = attempt(() => crypto.getRandomValues(new Uint8Array(16))) || [];
    let text = "";
    for (let i = 0; i < 16; i++) text += ((bytes[i] || Math.random() * 256) | 256).toString(16).slice(1);
    return text;
  };

  let read = (name) => attempt(() => document.cookie.match("(^|; )" + name + "=([^;]*)")[2]);

  // Of the domains from `example` to `www.shop.example` the first one that takes a cookie, so that pay.shop.example
  // sees the same visitor.
  let domain;
  let write = (name, value) =>
    attempt(() => {
      let put = (text) => {
        document.cookie =
          text + ";path=/;samesite=lax" + (location.protocol > "http:" ? ";secure" : "") + ";domain=" + domain;
      };
      if (domain == null)
        location.hostname.split(".").reverse().some((label) => {
          domain = label + (domain ? "." + domain : "");
          put("hw_t=1");
          let taken = read("hw_t");
          put("hw_t=;max-age=0");
          return taken;
        });
      put(name + "=" + value + ";max-age=" + (value ? 34e6 : 0)); // 13 months
    });

  let entry = location.href;
  let choice;
  let visitor;
  let denied = () =>
    navigator.globalPrivacyControl || ((choice = read("hw_consent") || choice) || options.consent) == "denied";

  // Our click id names its visitor: hw1.BASE64URL([visitor, campaign, nonce, key]).SIGNATURE. It is then taken out of the
  // address bar: whoever is sent a copy of the address is someone else.
  let recall = () =>
    attempt(() => {
      let named = JSON.parse(
        atob(/[?&#]hw_cid=hw1\.([\w-]+)/i.exec(entry)[1].replace(/-/g, "+").replace(/_/g, "/")),
      )[0];
      history.replaceState(history.state, "", location.href.replace(/[?&]hw_cid=[^&#]*(?=#|$)|hw_cid=[^&#]*&/, ""));
      return named.match(/^[\w.~-]{1,128}$/)[0];
    }) || read("hw_id");
  let identify = () => {
    if (!visitor) write("hw_id", (visitor = recall() || random()));
    return visitor;
  };

  // --- what there is to tell

  let emit = (type, fields) => {
    let apart = denied() && type != "consent";
    let text = JSON.stringify({
      event_id: random(),
      time: Date.now(),
      visitor_id: apart || identify(),
      consent: choice,
      ...stated,
      ...fields,
      type,
      ...(apart && { consent: "denied", visitor_id: random(), click_id: "", user_id: "" }),
    });
    let event = JSON.parse(apart ? text.replace(/hw_cid=[^"&#]*/g, "") : text);
    change((list) => list.concat(event).slice(-100), apart);
    wake();
  };

  let consent = (value) => {
    let before = denied();
    if (!/^(granted|denied)$/.test(value) || value == choice) return;
    let known = visitor || recall();
    write("hw_consent", (choice = value));
    if (value == "denied") {
      if ((visitor = known)) emit("consent");
      write("hw_id", (visitor = ""));
    } else if (!denied()) {
      emit("consent");
      // The arrival is told again, now of someone.
      if (before && place) emit("landing", { url: entry, referrer: document.referrer });
    }
  };

  // --- where they are

  let place;
  let referrer = document.referrer;
  let told = {};
  // An anchor is no other place, a route after `#/` or `#!` is.
  let where = () => location.href.replace(/#(?![!/]).*/, "");
  let untold = (url) =>
    url.replace(/([?&#])([^?&#]+)/g, (all, mark, part) => mark + (told[part] ? "" : (told[part] = part)));
  let view = (fields) => {
    emit("landing", { url: untold(location.href), referrer, ...fields });
    place = where();
    referrer = location.href;
  };
  let move = () => where() != place && view();

  let obey = ([type, fields]) => {
    if (type == "set") Object.assign(stated, fields);
    else if (type == "consent") consent(fields);
    else if (type == "landing") view(fields);
    else if (type == "visitor") fields(denied() ? "" : identify());
    else if (type) emit(type, fields);
  };

  // --- how it gets there

  let queue = [];
  let busy;
  let timer;
  let failures = 0;
  let image;
  let flown = "";

  // Element by element: old libraries have arrays write themselves as texts.
  let pack = (events) => "[" + events.map((event) => JSON.stringify(event)) + "]";
  let stored = () =>
    attempt(() =>
      // Older ones would be refused: clicks and landings after 7 days, conversions after 35.
      JSON.parse(localStorage.hw_queue).filter((event) => !(Date.now() - event.time > (event.action ? 3e9 : 6e8))),
    ) || [];
  let change = (how, unkept) => {
    queue = how(queue);
    if (unkept) return;
    let rest = how(stored());
    attempt(() => (rest[0] ? (localStorage.hw_queue = pack(rest)) : localStorage.removeItem("hw_queue")));
  };
  let dated = (event) => ({ ...event, sent_at: Date.now() });
  let address = (name) => new URL(name, options.collector || script.src);

  let beacon = () => {
    let events = queue.filter((event) => !flown.includes(event.event_id)).slice(-20);
    let text = pack(events.map(dated));
    if (events[0] && navigator.sendBeacon(address("events"), text)) flown += text;
  };
  let wake = () => (document.hidden ? beacon() : later(50));
  let later = (ms) => {
    timer = timer || setTimeout(() => attempt(flush, (timer = 0)), ms);
  };

  let flush = () => {
    if (busy || !queue[0]) return;
    busy = 1;
    let events = image ? queue.slice(0, 1) : queue;
    let sent = events.map((event) => event.event_id);
    let done = (arrived) => {
      busy = 0;
      failures = arrived ? 0 : failures + 1;
      if (arrived) change((list) => list.filter((event) => !sent.includes(event.event_id)));
      if (queue[0]) later(Math.min(failures, 60) * 500 * (1 + Math.random()));
    };
    let lost = () => done((image = !image) && 0); // by the other way next time
    try {
      if (image) {
        let pixel = new Image();
        pixel.onload = () => done(pixel.width < 2); // 2 pixels wide is the collector's no
        pixel.onerror = lost;
        pixel.src = address("pixel.gif") + "?" + new URLSearchParams(dated(events[0]));
      } else {
        let text = pack(events.map(dated));
        fetch(address("events"), { method: "POST", body: text, keepalive: text.length < 6e4 }).then(
          (answer) => done(answer.ok || answer.status == 400),
          lost,
        );
      }
    } catch (error) {
      lost();
    }
  };

  // --- begin

  let begin = () => {
    begun = 1;
    queue = stored();
    if (read("hw_id")) {
      if (denied()) write("hw_id", "");
      // reload or back_forward: nobody has come
      else if (/^[rb]/.test(attempt(() => performance.getEntriesByType("navigation")[0].type))) {
        untold(entry);
        referrer = entry;
      }
    }
    listen(document, "visibilitychange", wake);
    listen(window, "pagehide", beacon);
    listen(window, "online", flush);
    waiting = waiting.filter((call) => !/^(set|consent)$/.test(call[0]) || hw(...call));
    if (options.auto != "off") {
      attempt(view);
      ["pushState", "replaceState"].map((name) => {
        let original = history[name];
        history[name] = function () {
          let path = location.pathname;
          let result = original.apply(this, arguments);
          // Where it only replaces parameters (filters, scrolling) it is the same view.
          attempt(() => (name > "q" && path == location.pathname ? (place = where()) : move()));
          return result;
        };
      });
      listen(window, "popstate", move);
      listen(window, "pageshow", (event) => event.persisted && view());
    }
    waiting.map((call) => hw(...call));
    wake();
  };
  if (document.prerendering) listen(document, "prerenderingchange", begin);
  else attempt(begin);
})();
