//! The native API over real sockets: every route, every refusal, slow and hostile clients, resumed events, and the
//! native client against it.

#![allow(clippy::disallowed_methods, reason = "a test from outside keeps its own time and starts its own tasks")]

mod small_switch;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use acm_switch::acm::error::AcmError;
use acm_switch::acm::event::EventKind;
use acm_switch::acm::list::{Filter, State};
use acm_switch::acm::primitive::{Add, Caller, ForceRemove, Primitive, Remove, RemoveService};
use acm_switch::acm::switch::{AcmSwitch, EventStream, Inspect, perform};
use acm_switch::acm::wait;
use acm_switch::acm::words::{BindingKey, HealthProfile, ServiceKey};
use acm_switch::api::auth::Tokens;
use acm_switch::api::listen::{Endpoint, Listener};
use acm_switch::api::task::{CONNECTIONS_MAX, HEAD_PATIENCE, serve};
use acm_switch::driver::native::NativeClient;
use serde_json::{Value, json};
use small_switch::SmallSwitch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const READ_ONLY: &str = "fedcba9876543210fedcba9876543210";
const VIP: &str = "10.0.0.100:80";
const REAL: &str = "10.0.0.11:8080";

/// A served switch: a Unix socket and a TCP port with two tokens.
struct Served {
    switch: SmallSwitch,
    socket: PathBuf,
    tcp: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Served {
    async fn start() -> Served {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("switch.sock");
        let tokens = Arc::new(Tokens::parse(&format!("{TOKEN}\n{READ_ONLY} read-only\n")).unwrap());
        let unix = Listener::open(&Endpoint::Unix(socket.clone()), None).unwrap();
        let tcp = Listener::open(&"http://127.0.0.1:0".parse().unwrap(), Some(tokens)).unwrap();
        let Endpoint::Tcp(addr) = tcp.endpoint().unwrap() else { panic!("a TCP endpoint") };
        let switch = SmallSwitch::default();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move { drop(stopped.await) };
        let task = tokio::spawn(serve(Arc::new(switch.clone()), vec![unix, tcp], shutdown));
        Served { switch, socket, tcp: addr, stop: Some(stop), task, _dir: dir }
    }

    fn client(&self) -> NativeClient {
        NativeClient::new(format!("unix:{}", self.socket.display()).parse().unwrap(), None)
    }

    fn tcp_client(&self, token: Option<&str>) -> NativeClient {
        NativeClient::new(format!("http://{}", self.tcp).parse().unwrap(), token.map(str::to_owned))
    }

    /// One request on a connection of its own; the whole response.
    async fn raw(&self, request: &str) -> Response {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        Response::read(&mut stream).await
    }

    async fn post(&self, path: &str, body: &str) -> Response {
        self.raw(&post(path, body, "")).await
    }

    async fn get(&self, path: &str) -> Response {
        self.raw(&get(path, "")).await
    }

    async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(10), &mut self.task).await.expect("it stops").unwrap();
        assert!(!self.socket.exists(), "the socket's file is removed");
    }
}

fn post(path: &str, body: &str, more: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n{more}\r\n{body}"
    )
}

fn get(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{more}\r\n")
}

#[derive(Debug)]
struct Response {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Response {
    /// Reads until the other end hangs up.
    async fn read(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Response {
        let mut bytes = Vec::new();
        let reading = stream.read_to_end(&mut bytes);
        match tokio::time::timeout(Duration::from_secs(15), reading).await.expect("a response in time") {
            // A server that refuses a body it has not read resets the connection after its answer.
            Ok(_) => {}
            Err(why) if why.kind() == std::io::ErrorKind::ConnectionReset && !bytes.is_empty() => {}
            Err(why) => panic!("{why}"),
        }
        let at = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let head = String::from_utf8(bytes[..at].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Response { status, head, body: bytes[at..].to_vec() }
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }
}

fn service() -> ServiceKey {
    VIP.parse().unwrap()
}

fn real(last: u8) -> SocketAddr {
    format!("10.0.0.{last}:8080").parse().unwrap()
}

fn quick_add(last: u8) -> Primitive {
    Primitive::Add(Add { health: Some(HealthProfile::link_only()), ..Add::new(service(), real(last)) })
}

/// Every route with a request that succeeds on an otherwise empty switch, in an order that works.
fn every_route() -> Vec<(&'static str, &'static str, String)> {
    let binding = json!({"service": VIP, "real": REAL}).to_string();
    vec![
        ("POST", "/v1/set-service", json!({"service": VIP, "scheduler": "random"}).to_string()),
        ("POST", "/v1/add", binding.clone()),
        ("POST", "/v1/drop", json!({"service": VIP, "fraction": 0.25}).to_string()),
        ("POST", "/v1/apply", json!([{"op": "add", "service": VIP, "real": REAL}]).to_string()),
        ("GET", "/v1/list?service=10.0.0.100:80&state=pending", String::new()),
        ("GET", "/v1/stats", String::new()),
        ("GET", "/metrics", String::new()),
        ("GET", "/openapi.json", String::new()),
        ("POST", "/v1/remove", binding.clone()),
        ("POST", "/v1/add", binding.clone()),
        ("POST", "/v1/force-remove", binding),
        ("POST", "/v1/remove-service", json!({"service": VIP}).to_string()),
        ("POST", "/v1/claim", json!({"manager": "m1"}).to_string()),
    ]
}

async fn tcp_request(served: &Served, method: &str, path: &str, body: &str, authorization: &str) -> Response {
    let more = if authorization.is_empty() { String::new() } else { format!("authorization: {authorization}\r\n") };
    let text = if method == "POST" { post(path, body, &more) } else { get(path, &more) };
    let mut stream = TcpStream::connect(served.tcp).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    Response::read(&mut stream).await
}

#[tokio::test]
async fn every_route_answers_on_the_unix_socket() {
    let served = Served::start().await;
    assert_eq!(std::fs::metadata(&served.socket).unwrap().permissions().mode() & 0o777, 0o600);
    for (method, path, body) in every_route() {
        let response = if method == "POST" { served.post(path, &body).await } else { served.get(path).await };
        assert_eq!(response.status, 200, "{path}: {response:?}");
    }
    served.stop().await;
}

#[tokio::test]
async fn tcp_wants_a_token_for_everything() {
    let served = Served::start().await;
    let mut unauthenticated = every_route();
    unauthenticated.extend([
        ("GET", "/v1/events", String::new()),
        ("GET", "/v1/capture/eth1", String::new()),
        ("GET", "/no/such/route", String::new()),
        ("POST", "/v1/list", "{}".to_owned()),
        ("DELETE", "/v1/add", String::new()),
    ]);
    let mut seen = std::collections::BTreeSet::new();
    for (method, path, body) in unauthenticated {
        for bad in ["", "Bearer", "Bearer wrong-wrong-wrong-wrong-wrong", "Basic eDp5"] {
            let response = tcp_request(&served, method, path, &body, bad).await;
            assert_eq!(response.status, 401, "{path}: {response:?}");
            assert!(response.head.to_lowercase().contains("www-authenticate: bearer"), "{}", response.head);
            let undated = response.head.lines().filter(|line| !line.starts_with("date:")).collect::<String>();
            seen.insert((undated, response.body));
        }
    }
    assert_eq!(seen.len(), 1, "every refusal is the same, so that none tells anything");
    assert_eq!(served.switch.event_count(), 0);
    let good = format!("Bearer {TOKEN}");
    for (method, path, body) in every_route() {
        let response = tcp_request(&served, method, path, &body, &good).await;
        assert_eq!(response.status, 200, "{path}: {response:?}");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_read_only_token_reads() {
    let served = Served::start().await;
    let token = format!("Bearer {READ_ONLY}");
    for (method, path, body) in every_route() {
        let response = tcp_request(&served, method, path, &body, &token).await;
        assert_eq!(response.status, if method == "GET" { 200 } else { 403 }, "{path}: {response:?}");
    }
    let capture = tcp_request(&served, "GET", "/v1/capture/eth1", "", &token).await;
    assert_eq!(capture.status, 403);
    assert_eq!(served.switch.event_count(), 0);
    served.stop().await;
}

#[tokio::test]
async fn malformed_input_names_its_field_and_changes_nothing() {
    let served = Served::start().await;
    let caller = Caller::default();
    perform(&served.switch, &caller, quick_add(11)).await.unwrap();
    let before = (served.switch.list(&Filter::default()).await.unwrap(), served.switch.event_count());
    let add = |rest: &str| format!(r#"{{"service":"{VIP}","real":"10.0.0.12:8080"{rest}}}"#);
    let set = |rest: &str| format!(r#"{{"service":"{VIP}",{rest}}}"#);
    let too_deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    let cases: Vec<(&str, String, u16, &str)> = vec![
        ("/v1/add", "{".into(), 400, ""),
        ("/v1/add", String::new(), 400, ""),
        ("/v1/add", "\u{0}".into(), 400, ""),
        ("/v1/add", too_deep.clone(), 422, "body"),
        ("/v1/apply", too_deep, 400, ""),
        ("/v1/add", add(r#","weight":1e999"#), 400, ""),
        ("/v1/add", "[]".into(), 422, "body"),
        ("/v1/add", add(r#","wieght":3"#), 422, "wieght"),
        ("/v1/add", add(r#","weight":3,"weight":4"#), 422, "weight"),
        ("/v1/add", add(r#","weight":-3"#), 422, "weight"),
        ("/v1/add", add(r#","weight":1001"#), 422, "weight"),
        ("/v1/add", add(r#","weight":99999999999999999999"#), 422, "weight"),
        ("/v1/add", add(r#","max_conns":0"#), 422, "max_conns"),
        ("/v1/add", add(r#","lease":"1ms""#), 422, "lease"),
        ("/v1/add", add(r#","group":"a b""#), 422, "group"),
        ("/v1/add", add(r#","health":{"interval":"1ms"}"#), 422, "health.interval"),
        ("/v1/add", r#"{"real":"10.0.0.12:8080"}"#.into(), 422, "service"),
        ("/v1/add", format!(r#"{{"service":"{VIP}","real":"{VIP}"}}"#), 422, "real"),
        ("/v1/add", r#"{"service":"10.0.0.11:80","real":"10.0.0.12:8080"}"#.into(), 422, "service"),
        ("/v1/add", format!(r#"{{"service":"{VIP}","real":"[2001:db8::1]:80"}}"#), 422, "real"),
        ("/v1/drop", format!(r#"{{"service":"{VIP}","fraction":1.5}}"#), 422, "fraction"),
        ("/v1/drop", format!(r#"{{"service":"{VIP}","fraction":-0.1}}"#), 422, "fraction"),
        ("/v1/drop", format!(r#"{{"service":"{VIP}","fraction":0.5,"from":"10.0.0.1/8"}}"#), 422, "from"),
        ("/v1/drop", r#"{"service":"10.0.0.100:81","fraction":0.5}"#.into(), 404, ""),
        ("/v1/set-service", format!(r#"{{"service":"{VIP}","scheduler":"best"}}"#), 422, "scheduler"),
        ("/v1/set-service", set(r#""content":"html""#), 422, "content"),
        (
            "/v1/set-service",
            set(r#""rules":[{"name":"r","then":{"drop":{"fraction":2}}}]"#),
            422,
            "rules[0].then.drop.fraction",
        ),
        (
            "/v1/set-service",
            set(r#""rules":[{"name":"r","when":[{"path":{"prefix":"x"}}],"then":"reset"}]"#),
            422,
            "rules[0].when[0].path",
        ),
        (
            "/v1/set-service",
            set(r#""rules":[{"name":"r","then":"reset"},{"name":"r","then":"reset"}]"#),
            422,
            "rules[1].name",
        ),
        ("/v1/set-service", set(r#""rules":[],"edit":{"remove":{"name":"r"}}"#), 422, "edit"),
        (
            "/v1/set-service",
            set(
                r#""edit":{"insert":{"rule":{"name":"r","when":[{"cookie":{"name":"a b","is":"present"}}],"then":"reset"}}}"#,
            ),
            422,
            "edit.insert.rule.when[0].cookie",
        ),
        ("/v1/set-service", set(r#""default_action":{"drop":{"fraction":0.5}}"#), 422, "default_action"),
        ("/v1/set-service", set(r#""strangers":"drop""#), 422, "strangers"),
        ("/v1/set-service", r#"{"service":"10.0.0.100:53/udp","content":"http"}"#.into(), 501, ""),
        ("/v1/remove", format!(r#"{{"service":"{VIP}","real":"10.0.0.99:1"}}"#), 404, ""),
        ("/v1/add?wait=soon", add(""), 422, "wait"),
        ("/v1/add?wait=9years", add(""), 422, "wait"),
        ("/v1/add?wiat=1s", add(""), 422, "wiat"),
        ("/v1/claim", r#"{"manager":"a b"}"#.into(), 422, "manager"),
        (
            "/v1/apply",
            format!(
                r#"[{{"op":"remove","service":"{VIP}","real":"{REAL}"}},{{"op":"drop","service":"{VIP}","fraction":1.5}}]"#
            ),
            422,
            "[1].fraction",
        ),
        ("/v1/add", " ".repeat(64 * 1024 + 1), 413, ""),
    ];
    for (path, body, status, field) in cases {
        let response = served.post(path, &body).await;
        let shown = &body[..body.len().min(200)];
        assert_eq!(response.status, status, "{path} {shown}: {response:?}");
        assert!(response.head.contains("application/problem+json"), "{}", response.head);
        let problem = response.json();
        assert_eq!(problem["status"], status);
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        assert_eq!(problem["field"].as_str().unwrap_or_default(), field, "{path} {shown}: {problem}");
    }
    let after = (served.switch.list(&Filter::default()).await.unwrap(), served.switch.event_count());
    assert_eq!(before, after, "nothing of it changed anything");
    served.stop().await;
}

#[tokio::test]
async fn http_is_strict() {
    let served = Served::start().await;
    let method = served.raw("DELETE /v1/add HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert_eq!(method.status, 405);
    assert!(method.head.to_lowercase().contains("allow: post"), "{}", method.head);
    assert_eq!(served.post("/v1/list", "{}").await.status, 405);
    for path in ["/", "/v1", "/v1/add/", "/v1/capture/", "/v1/capture/a/b", "/v2/list"] {
        assert_eq!(served.get(path).await.status, 404, "{path}");
    }
    let form = "POST /v1/add HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                content-type: application/x-www-form-urlencoded\r\ncontent-length: 2\r\n\r\n{}";
    assert_eq!(served.raw(form).await.status, 415);
    assert_eq!(served.get("/v1/list?state=asleep").await.json()["field"], "state");
    assert_eq!(served.get("/v1/list?sevrice=10.0.0.100:80").await.json()["field"], "sevrice");
    assert_eq!(served.get("/v1/events?after=x").await.json()["field"], "after");
    assert_eq!(served.get("/v1/capture/eth9").await.status, 404);
    let body = json!({"service": VIP, "real": REAL}).to_string();
    for (more, field) in [
        ("acm-epoch: 3\r\n", "acm-manager"),
        ("acm-manager: m1\r\n", "acm-epoch"),
        ("acm-epoch: -1\r\nacm-manager: m1\r\n", "acm-epoch"),
        ("acm-epoch: 1\r\nacm-epoch: 2\r\nacm-manager: m1\r\n", "acm-epoch"),
        ("acm-epoch: 1\r\nacm-manager: a b\r\n", "acm-manager"),
    ] {
        let response = served.raw(&post("/v1/add", &body, more)).await;
        assert_eq!((response.status, response.json()["field"].as_str()), (422, Some(field)), "{more}");
    }
    let long = format!("GET /v1/list HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(200_000));
    let mut stream = UnixStream::connect(&served.socket).await.unwrap();
    // The server may hang up before it has read all of it.
    let _ = stream.write_all(long.as_bytes()).await;
    assert_eq!(Response::read(&mut stream).await.status, 431);
    served.stop().await;
}

#[tokio::test]
async fn a_list_larger_than_a_primitive_is_accepted_and_answered_in_order() {
    let served = Served::start().await;
    let client = served.client();
    let mut list: Vec<_> = (0..5_000u32)
        .map(|n| {
            let real = SocketAddr::from(([10, 1, (n >> 8) as u8, n as u8], 8080));
            Primitive::Add(Add { health: Some(HealthProfile::link_only()), ..Add::new(service(), real) })
        })
        .filter(|primitive| !matches!(primitive, Primitive::Add(add) if add.real.ip().to_string().ends_with(".0.0")))
        .collect();
    list[7] = Primitive::Remove(Remove { service: service(), real: real(77), deadline: None });
    let count = list.len();
    let outcomes = client.apply(&Caller::default(), list).await.unwrap();
    assert_eq!(outcomes.len(), count);
    assert!(outcomes.iter().enumerate().all(|(index, outcome)| outcome.is_ok() == (index != 7)));
    assert!(matches!(outcomes[7], Err(AcmError::NotFound { .. })));
    assert_eq!(client.list(&Filter::default()).await.unwrap().bindings.len(), count - 1);
    served.stop().await;
}

#[tokio::test]
async fn a_panic_in_the_switch_ends_nothing_else() {
    let served = Served::start().await;
    assert_eq!(served.get("/v1/list?group=panic").await.status, 500);
    assert_eq!(served.get("/v1/list").await.status, 200);
    served.stop().await;
}

#[tokio::test]
async fn slow_clients_are_closed_and_a_polite_one_is_not_disturbed() {
    let served = Served::start().await;
    // More than there are places, each with half a head, on the listener the polite client uses.
    let mut slow = Vec::new();
    for _ in 0..CONNECTIONS_MAX + 50 {
        let mut stream = TcpStream::connect(served.tcp).await.unwrap();
        stream.write_all(b"GET /v1/list HTTP/1.1\r\nhost: x\r\nx-").await.unwrap();
        slow.push(stream);
    }
    let polite = served.tcp_client(Some(TOKEN));
    let begun = Instant::now();
    while begun.elapsed() < HEAD_PATIENCE + Duration::from_secs(1) {
        let asked = Instant::now();
        polite.list(&Filter::default()).await.expect("the polite client is served");
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        for stream in slow.iter_mut().take(20) {
            // A trickle does not buy time; a closed connection refuses it, which is the point.
            let _ = stream.write_all(b"y").await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for mut stream in slow {
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(2), stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "a slow client is still connected");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_slow_body_is_given_up() {
    let served = Served::start().await;
    let head = "POST /v1/add HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\nconnection: close\r\n\r\n{";
    let begun = Instant::now();
    let response = served.raw(head).await;
    assert_eq!(response.status, 408);
    assert!(begun.elapsed() >= Duration::from_secs(9), "{:?}", begun.elapsed());
    served.stop().await;
}

async fn next(events: &mut EventStream) -> acm_switch::acm::event::Event {
    let next = std::future::poll_fn(|cx| events.as_mut().poll_next(cx));
    tokio::time::timeout(Duration::from_secs(10), next).await.expect("an event in time").expect("no end")
}

#[tokio::test]
async fn events_resume_exactly_once_over_lost_connections() {
    let served = Served::start().await;
    // Between client and switch stands a wire that is cut again and again.
    let wire = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    wire.set_nonblocking(true).unwrap();
    let wire = tokio::net::TcpListener::from_std(wire).unwrap();
    let at = wire.local_addr().unwrap();
    let (cut, _) = tokio::sync::broadcast::channel::<()>(4);
    let (to, cutter) = (served.tcp, cut.clone());
    let relay = tokio::spawn(async move {
        loop {
            let (mut near, _) = wire.accept().await.unwrap();
            let mut far = TcpStream::connect(to).await.unwrap();
            let mut cut = cutter.subscribe();
            tokio::spawn(async move {
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = cut.recv() => {}
                }
            });
        }
    });
    let client = NativeClient::new(format!("http://{at}").parse().unwrap(), Some(TOKEN.to_owned()));
    let mut events = client.events(None).await.unwrap();
    let caller = Caller::default();
    let mut sent = 0u64;
    let mut numbers = Vec::new();
    for round in 0..20u8 {
        for _ in 0..5 {
            perform(&served.switch, &caller, quick_add(round + 1)).await.unwrap();
            perform(
                &served.switch,
                &caller,
                Primitive::ForceRemove(ForceRemove { service: service(), real: real(round + 1) }),
            )
            .await
            .unwrap();
        }
        let now = served.switch.event_count();
        // Read part of what there is, so that the cut falls between two events.
        while sent < now - 3 {
            numbers.push(next(&mut events).await.id.number);
            sent += 1;
        }
        let _ = cut.send(());
    }
    while sent < served.switch.event_count() {
        numbers.push(next(&mut events).await.id.number);
        sent += 1;
    }
    assert_eq!(numbers, (1..=served.switch.event_count()).collect::<Vec<_>>());
    relay.abort();
    served.stop().await;
}

#[tokio::test]
async fn the_event_stream_speaks_the_standard() {
    let served = Served::start().await;
    for last in 1..=3 {
        perform(&served.switch, &Caller::default(), quick_add(last)).await.unwrap();
    }
    let mut stream = UnixStream::connect(&served.socket).await.unwrap();
    // The header, as a browser sends it, wins over the URL it repeats.
    let request = get("/v1/events?after=5f0c21aa.1", "last-event-id: 5f0c21aa.3\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    while !text.contains("\ndata: ") {
        let mut piece = [0; 4096];
        let got = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut piece)).await.unwrap().unwrap();
        assert!(got > 0, "{text}");
        text += std::str::from_utf8(&piece[..got]).unwrap();
    }
    assert!(text.contains("content-type: text/event-stream"), "{text}");
    assert!(text.contains("id: 5f0c21aa.4\ndata: {"), "{text}");
    assert!(!text.contains("id: 5f0c21aa.3\n"), "{text}");
    let begun = Instant::now();
    served.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(2), "a stream does not hold the shutdown up");
}

#[tokio::test]
async fn a_forgotten_place_is_told_so() {
    let served = Served::start().await;
    let forgotten = "00000001.5".parse().unwrap();
    let mut events = served.client().events(Some(forgotten)).await.unwrap();
    assert_eq!(next(&mut events).await.kind, EventKind::Lost);
    served.stop().await;
}

#[tokio::test]
async fn waiting_waits() {
    let served = Served::start().await;
    let client = served.client();
    let key = BindingKey { service: service(), real: real(11) };
    let body = json!({"service": VIP, "real": REAL}).to_string();
    let late = served.post("/v1/add?wait=100ms", &body).await;
    assert_eq!(late.status, 504, "{late:?}");
    assert!(late.json()["detail"].as_str().unwrap().contains("ARP"), "it says what is missing: {late:?}");
    let (added, ()) = tokio::join!(served.post("/v1/add?wait=10s", &body), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        served.switch.pass(key);
    });
    assert_eq!(added.status, 200, "{added:?}");
    served.switch.set_connections(real(11), 2);
    assert_eq!(served.post("/v1/remove?wait=50ms", &body).await.status, 504);
    let row = client.list(&Filter::service(service())).await.unwrap().bindings.remove(0);
    assert_eq!((row.state, row.connections), (State::Draining, 2));
    let (drained, ()) = tokio::join!(wait::until_drained(&client, &key, Duration::from_secs(10)), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        served.switch.set_connections(real(11), 0);
    });
    drained.unwrap();
    served.stop().await;
}

#[tokio::test]
async fn the_native_client_is_the_switch() {
    let served = Served::start().await;
    for client in [served.client(), served.tcp_client(Some(TOKEN))] {
        let caller = Caller::default();
        let added = perform(&client, &caller, quick_add(11)).await.unwrap();
        assert!(added.changed && added.binding.is_some());
        let again = perform(&client, &caller, quick_add(11)).await.unwrap();
        assert!(!again.changed);
        let other = Primitive::Add(Add { owner: "m1".parse().unwrap(), ..Add::new(service(), real(11)) });
        assert!(
            matches!(perform(&client, &caller, other).await, Err(AcmError::Exists { owner, .. }) if owner == "operator")
        );
        assert_eq!(client.list(&Filter::default()).await, served.switch.list(&Filter::default()).await);
        assert_eq!(client.statistics().await, served.switch.statistics().await);
        let old = client.claim(&"m1".parse().unwrap()).await.unwrap();
        let new = client.claim(&"m2".parse().unwrap()).await.unwrap();
        assert!(new.epoch > old.epoch);
        let stale = Caller { tenure: Some(old.clone()) };
        let refused = perform(&client, &stale, quick_add(12)).await.unwrap_err();
        assert_eq!(refused, AcmError::StaleEpoch { given: old.epoch, current: new.epoch });
        perform(&client, &Caller { tenure: Some(new) }, quick_add(12)).await.unwrap();
        served.switch.set_connections(real(12), 9);
        let cut = Primitive::ForceRemove(ForceRemove { service: service(), real: real(12) });
        assert_eq!(perform(&client, &caller, cut).await.unwrap().cut, Some(9));
        let mut pieces = client.capture("eth1").await.unwrap();
        let mut bytes = Vec::new();
        while bytes.len() < 124 {
            bytes.extend(std::future::poll_fn(|cx| pieces.as_mut().poll_next(cx)).await.unwrap());
        }
        assert_eq!(bytes[..24], small_switch::PCAP_HEAD);
        assert!(
            matches!(client.capture("eth 9").await.err(), Some(AcmError::NotFound { what }) if what == "port eth 9")
        );
        let gone = Primitive::RemoveService(RemoveService { service: service() });
        perform(&client, &caller, gone).await.unwrap();
    }
    let nobody = served.tcp_client(None).list(&Filter::default()).await.unwrap_err();
    assert!(matches!(nobody, AcmError::Forbidden { .. }), "{nobody}");
    let target = served.client();
    served.stop().await;
    let gone = target.list(&Filter::default()).await.unwrap_err();
    assert!(matches!(gone, AcmError::Unreachable { .. }), "{gone}");
}

#[tokio::test]
async fn calls_at_once_and_stale_connections_are_fine() {
    let served = Served::start().await;
    let client = served.client();
    let calls: Vec<_> = (1..=99u8)
        .map(|last| {
            let client = client.clone();
            tokio::spawn(async move { perform(&client, &Caller::default(), quick_add(last)).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    // The switch closes idle connections; the next call must not notice.
    tokio::time::sleep(HEAD_PATIENCE + Duration::from_millis(500)).await;
    perform(&client, &Caller::default(), quick_add(101)).await.unwrap();
    assert_eq!(client.list(&Filter::default()).await.unwrap().bindings.len(), 100);
    served.stop().await;
}

#[tokio::test]
async fn metrics_show_bindings_and_counters() {
    let served = Served::start().await;
    perform(&served.switch, &Caller::default(), quick_add(11)).await.unwrap();
    served.switch.set_connections(real(11), 3);
    let response = served.get("/metrics").await;
    assert!(response.head.contains("text/plain; version=0.0.4"), "{}", response.head);
    let page = String::from_utf8(response.body).unwrap();
    for line in [
        "acm_binding_connections{service=\"10.0.0.100:80\",real=\"10.0.0.11:8080\",group=\"default\",owner=\"operator\"} 3",
        "acm_plane_total{counter=\"verdict.forwarded\"} 17",
        "acm_service_bindings{service=\"10.0.0.100:80\",state=\"active\"} 1",
        "acm_service_dropped_total{service=\"10.0.0.100:80\"} 20",
        "acm_port_rx_frames_total{port=\"eth1\"} 5",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
    served.stop().await;
}
