//! The listeners over real sockets: telnet and SSH, floods, and an administrator who still gets in.

#![allow(missing_docs, clippy::disallowed_methods)]

mod support;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use russh::client;
use russh::keys::{Algorithm, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{ChannelMsg, Disconnect};
use support::{PASSWORD, SmallShell};
use switch_sim::quirk::Quirks;
use switch_sim::server::{AuthorizedKeys, Bell, Device, HostKey, Listen, Server, SshListen};
use switch_sim::shell::LoginAsks;
use switch_sim::terminal::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A running device.
struct Running {
    telnet: SocketAddr,
    ssh: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn start(shell: SmallShell, settings: Settings, authorized: AuthorizedKeys) -> Running {
    let host_key = HostKey::generate().expect("a key");
    let ssh = Some(SshListen { address: LOOPBACK, host_key, authorized });
    let listen = Listen { telnet: Some(LOOPBACK), ssh, ..Listen::default() };
    let server = Server::bind(Device::new(shell, Bell::default()), settings, listen).await.expect("loopback has room");
    let (telnet, ssh) = (server.telnet_address().expect("bound"), server.ssh_address().expect("bound"));
    Running { telnet, ssh, task: tokio::spawn(server.run()) }
}

async fn start_asking(asks: LoginAsks) -> Running {
    start(SmallShell::asking(asks), Settings::default(), AuthorizedKeys::default()).await
}

/// Reads until the text ends like this.
async fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let mut seen = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&seen).ends_with(end) {
            let mut piece = [0; 4096];
            match stream.read(&mut piece).await.expect("the device is there") {
                0 => panic!("closed after {:?}, before {end:?}", String::from_utf8_lossy(&seen)),
                read => seen.extend_from_slice(&piece[..read]),
            }
        }
    };
    let in_time = timeout(PATIENCE, read).await;
    assert!(in_time.is_ok(), "{end:?} did not come; {:?} did", String::from_utf8_lossy(&seen));
    String::from_utf8_lossy(&seen).into_owned()
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    matches!(timeout(PATIENCE, stream.read_to_end(&mut rest)).await, Ok(Ok(_) | Err(_)))
}

async fn administrator(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    read_to(&mut stream, "Name: ").await;
    stream.write_all(b"admin\r\n").await?;
    read_to(&mut stream, "Password: ").await;
    stream.write_all(format!("{PASSWORD}\r\n").as_bytes()).await?;
    read_to(&mut stream, "telnet@ServerIron>").await;
    Ok(stream)
}

mod telnet {
    use super::*;

    #[tokio::test]
    async fn every_login_variant_in_a_burst_and_byte_by_byte() {
        for (asks, dialogue) in [
            (LoginAsks::Nothing, String::new()),
            (LoginAsks::Password, format!("{PASSWORD}\r\n")),
            (LoginAsks::NameAndPassword, format!("admin\r\n{PASSWORD}\r\n")),
        ] {
            let device = start_asking(asks).await;
            let mut burst = TcpStream::connect(device.telnet).await.expect("connects");
            burst.write_all(format!("{dialogue}say hello\r\nexit\r\n").as_bytes()).await.expect("sent");
            assert!(read_to(&mut burst, "exit\r\n").await.contains("say hello\r\nhello\r\ntelnet@ServerIron>exit"));
            assert!(is_closed(&mut burst).await);

            let mut slow = TcpStream::connect(device.telnet).await.expect("connects");
            for byte in format!("{dialogue}say hello\r\n").bytes() {
                slow.write_all(&[byte]).await.expect("sent");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let seen = read_to(&mut slow, "\r\nhello\r\ntelnet@ServerIron>").await;
            assert!(seen.ends_with("telnet@ServerIron>say hello\r\nhello\r\ntelnet@ServerIron>"), "{seen:?}");
        }
    }

    #[tokio::test]
    async fn a_client_that_refuses_every_option_is_served_like_any_other() {
        let device = start_asking(LoginAsks::Nothing).await;
        let mut stream = TcpStream::connect(device.telnet).await.expect("connects");
        stream.write_all(&[255, 254, 1, 255, 254, 3, 255, 252, 31]).await.expect("sent");
        read_to(&mut stream, ">").await;
        stream.write_all(b"say hello\r\n").await.expect("sent");
        assert_eq!(read_to(&mut stream, ">").await, "say hello\r\nhello\r\ntelnet@ServerIron>");
    }

    #[tokio::test]
    async fn a_script_that_closes_its_end_still_gets_its_answers() {
        let device = start_asking(LoginAsks::Nothing).await;
        let mut stream = TcpStream::connect(device.telnet).await.expect("connects");
        stream.write_all(b"slow\nsay last\n").await.expect("sent");
        stream.shutdown().await.expect("half closed");
        assert!(read_to(&mut stream, "say last\r\nlast\r\ntelnet@ServerIron>").await.contains("slow\r\ndone\r\n"));
        assert!(is_closed(&mut stream).await);
    }

    #[tokio::test]
    async fn a_notice_comes_by_itself() {
        let device = start_asking(LoginAsks::Nothing).await;
        let mut stream = TcpStream::connect(device.telnet).await.expect("connects");
        stream.write_all(b"delete\r\n").await.expect("sent");
        read_to(&mut stream, "telnet@ServerIron>Server rs1 successfully deleted.").await;
    }

    #[tokio::test]
    async fn the_limit_of_sessions_is_told_and_a_silent_one_makes_room() {
        let mut shell = SmallShell::default();
        shell.sessions_max = Some(2);
        let device = start(shell, Settings::default(), AuthorizedKeys::default()).await;
        let mut used = TcpStream::connect(device.telnet).await.expect("connects");
        used.write_all(b"\r\n").await.expect("sent");
        read_to(&mut used, "\r\ntelnet@ServerIron>").await;
        let mut silent = TcpStream::connect(device.telnet).await.expect("connects");
        read_to(&mut silent, ">").await;
        let mut third = TcpStream::connect(device.telnet).await.expect("connects");
        read_to(&mut third, "the maximum number of sessions is reached.\r\n").await;
        assert!(is_closed(&mut third).await);
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let mut fourth = TcpStream::connect(device.telnet).await.expect("connects");
        read_to(&mut fourth, ">").await;
        assert!(is_closed(&mut silent).await);
        used.write_all(b"say here\r\n").await.expect("sent");
        read_to(&mut used, "here\r\ntelnet@ServerIron>").await;
    }
}

mod floods {
    use super::*;

    /// Bytes that are not nice, the same in every run.
    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut chance = fastrand::Rng::with_seed(seed);
        (0..len).map(|_| if chance.u8(..4) == 0 { 255 } else { chance.u8(..) }).collect()
    }

    async fn administrator_is_in_within_two_seconds(device: &Running) {
        let begin = Instant::now();
        let mut stream = administrator(device.telnet).await.expect("the device is there");
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(2), "{took:?}");
        stream.write_all(b"say hello\r\n").await.expect("sent");
        read_to(&mut stream, "hello\r\ntelnet@ServerIron>").await;
    }

    #[tokio::test]
    async fn a_thousand_connections_that_do_nothing() {
        let device = start_asking(LoginAsks::NameAndPassword).await;
        let mut held = Vec::new();
        for at in 0..1_000 {
            let address = if at % 4 == 0 { device.ssh } else { device.telnet };
            held.push(TcpStream::connect(address).await.expect("connects"));
        }
        administrator_is_in_within_two_seconds(&device).await;
        drop(held);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn bytes_of_every_kind_while_an_administrator_works() {
        let device = start_asking(LoginAsks::NameAndPassword).await;
        let mut inside = administrator(device.telnet).await.expect("the device is there");
        let mut floods = tokio::task::JoinSet::new();
        for seed in 0..100 {
            let address = if seed % 5 == 0 { device.ssh } else { device.telnet };
            floods.spawn(async move {
                let mut stream = TcpStream::connect(address).await.expect("connects");
                let (mut read, mut write) = stream.split();
                let mut bin = Vec::new();
                let noise = noise(seed, 256 * 1024);
                // A device that has had enough hangs up: no error of ours.
                let flood = async { tokio::join!(write.write_all(&noise), read.read_to_end(&mut bin)) };
                timeout(Duration::from_secs(3), flood).await.ok();
            });
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        administrator_is_in_within_two_seconds(&device).await;
        let begin = Instant::now();
        inside.write_all(b"say still\r\n").await.expect("sent");
        read_to(&mut inside, "still\r\ntelnet@ServerIron>").await;
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        while floods.join_next().await.is_some() {}
    }

    #[tokio::test]
    async fn lines_of_ten_megabytes_and_a_flood_of_options() {
        let device = start_asking(LoginAsks::Nothing).await;
        let lines = vec![b'x'; 10 << 20];
        let options = [255, 253, 24, 255, 251, 31].repeat(1 << 18);
        for flood in [lines, options] {
            let mut stream = TcpStream::connect(device.telnet).await.expect("connects");
            let (mut read, mut write) = stream.split();
            let mut bin = vec![0; 1 << 16];
            let sent = async {
                write.write_all(&flood).await.expect("taken");
                write.write_all(b"\x03say done\r").await.expect("taken");
            };
            let mut tail = Vec::new();
            let answered = async {
                while !tail.ends_with(b"done\r\ntelnet@ServerIron>") {
                    let got = read.read(&mut bin).await.expect("the device is there");
                    assert_ne!(got, 0, "it does not hang up");
                    tail.extend_from_slice(&bin[..got]);
                    let keep = tail.len().saturating_sub(100);
                    tail.drain(..keep);
                }
            };
            timeout(PATIENCE, async { tokio::join!(sent, answered) }).await.expect("in time");
        }
    }

    #[tokio::test]
    async fn a_peer_that_never_reads_does_not_hold_up_the_others() {
        let device = start_asking(LoginAsks::Nothing).await;
        let mut deaf = TcpStream::connect(device.telnet).await.expect("connects");
        deaf.write_all(b"skip-page-display\r").await.expect("sent");
        let asked = async {
            for _ in 0..1_000_000 {
                deaf.write_all(b"show long\r").await.expect("taken");
            }
        };
        assert!(timeout(Duration::from_secs(2), asked).await.is_err(), "what it does not read, nobody computes");
        let mut other = TcpStream::connect(device.telnet).await.expect("connects");
        other.write_all(b"say hello\r\n").await.expect("sent");
        read_to(&mut other, "hello\r\ntelnet@ServerIron>").await;
    }
}

/// A client that trusts any device.
struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;
    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

mod ssh {
    use super::*;

    async fn connect(device: &Running) -> client::Handle<Trusting> {
        let connecting = client::connect(Arc::new(client::Config::default()), device.ssh, Trusting);
        timeout(PATIENCE, connecting).await.expect("in time").expect("a handshake")
    }

    async fn read_channel(channel: &mut russh::Channel<client::Msg>, end: &str) -> String {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).ends_with(end) {
            match timeout(PATIENCE, channel.wait()).await {
                Ok(Some(ChannelMsg::Data { data })) => seen.extend_from_slice(&data),
                Ok(Some(_)) => {}
                other => panic!("{other:?} after {:?}, before {end:?}", String::from_utf8_lossy(&seen)),
            }
        }
        String::from_utf8_lossy(&seen).into_owned()
    }

    async fn shell(handle: &client::Handle<Trusting>) -> russh::Channel<client::Msg> {
        let channel = handle.channel_open_session().await.expect("a channel");
        channel.request_pty(true, "vt100", 80, 24, 0, 0, &[]).await.expect("a terminal");
        channel.request_shell(true).await.expect("a shell");
        channel
    }

    #[tokio::test]
    async fn a_password_and_a_shell() {
        let device = start_asking(LoginAsks::NameAndPassword).await;
        let mut handle = connect(&device).await;
        assert!(!handle.authenticate_password("admin", "wrong").await.expect("an answer").success());
        assert!(handle.authenticate_password("admin", PASSWORD).await.expect("an answer").success());
        let mut channel = shell(&handle).await;
        read_channel(&mut channel, "SSH@ServerIron>").await;
        for byte in b"say hello\r" {
            channel.data_bytes(vec![*byte]).await.expect("sent");
        }
        assert_eq!(read_channel(&mut channel, ">").await, "say hello\r\nhello\r\nSSH@ServerIron>");
        channel.data_bytes(&b"exit\n"[..]).await.expect("sent");
        let closing = async { while channel.wait().await.is_some() {} };
        timeout(PATIENCE, closing).await.expect("exit closes the channel");
    }

    #[tokio::test]
    async fn a_key_and_one_command() {
        let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).expect("a key");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("authorized_keys");
        let line = key.public_key().to_openssh().expect("a line");
        std::fs::write(&file, format!("# administrators\n\n{line} admin\n")).expect("written");
        let authorized = AuthorizedKeys::from_file(&file).expect("read back");
        let device = start(SmallShell::asking(LoginAsks::Password), Settings::default(), authorized).await;

        let stranger = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).expect("a key");
        let mut handle = connect(&device).await;
        let with = |key| PrivateKeyWithHashAlg::new(Arc::new(key), None);
        assert!(!handle.authenticate_publickey("admin", with(stranger)).await.expect("an answer").success());
        assert!(handle.authenticate_publickey("admin", with(key)).await.expect("an answer").success());
        let mut channel = handle.channel_open_session().await.expect("a channel");
        channel.exec(true, "say hello").await.expect("sent");
        let (mut said, mut status) = (Vec::new(), None);
        while let Some(message) = timeout(PATIENCE, channel.wait()).await.expect("in time") {
            match message {
                ChannelMsg::Data { data } => said.extend_from_slice(&data),
                ChannelMsg::ExitStatus { exit_status } => status = Some(exit_status),
                _ => {}
            }
        }
        assert_eq!((String::from_utf8_lossy(&said).as_ref(), status), ("hello\r\n", Some(0)));
    }

    #[tokio::test]
    async fn no_login_needs_none() {
        let device = start_asking(LoginAsks::Nothing).await;
        let mut handle = connect(&device).await;
        assert!(handle.authenticate_none("anybody").await.expect("an answer").success());
        let mut channel = shell(&handle).await;
        read_channel(&mut channel, "SSH@ServerIron>").await;
        handle.disconnect(Disconnect::ByApplication, "", "").await.expect("sent");
    }

    #[tokio::test]
    async fn a_cut_takes_the_whole_connection() {
        let quirks = Quirks::of(&["disconnect-after=20"]).expect("a quirk");
        let settings = Settings { quirks, ..Settings::default() };
        let device = start(SmallShell::default(), settings, AuthorizedKeys::default()).await;
        let mut handle = connect(&device).await;
        assert!(handle.authenticate_none("anybody").await.expect("an answer").success());
        let mut channel = shell(&handle).await;
        channel.data_bytes(&b"say hello\r"[..]).await.expect("sent");
        let closing = async { while channel.wait().await.is_some() {} };
        timeout(PATIENCE, closing).await.expect("the channel ends");
        let next = timeout(PATIENCE, handle.channel_open_session()).await.expect("in time");
        assert!(next.is_err(), "the connection is gone");
    }

    #[tokio::test]
    async fn three_wrong_passwords_end_the_connection() {
        let device = start_asking(LoginAsks::Password).await;
        let mut handle = connect(&device).await;
        for _ in 0..2 {
            assert!(!handle.authenticate_password("admin", "wrong").await.expect("an answer").success());
        }
        let third = handle.authenticate_password("admin", "wrong").await;
        assert!(!matches!(third, Ok(answer) if answer.success()));
        assert!(handle.authenticate_password("admin", PASSWORD).await.is_err());
    }

    #[tokio::test]
    async fn who_does_not_log_in_is_hung_up_on() {
        let quirks = Quirks::of(&["login-hung"]).expect("a quirk");
        let settings = Settings { quirks, login_timeout: Duration::from_secs(1), ..Settings::default() };
        let device = start(SmallShell::asking(LoginAsks::Password), settings, AuthorizedKeys::default()).await;
        let mut silent = TcpStream::connect(device.ssh).await.expect("connects");
        let mut handle = connect(&device).await;
        let hung = timeout(PATIENCE, handle.authenticate_password("admin", PASSWORD)).await;
        assert!(!matches!(hung.expect("in time"), Ok(answer) if answer.success()));
        assert!(is_closed(&mut silent).await);
    }
}

#[test]
fn a_host_key_is_made_once_and_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("host_key");
    let made = HostKey::from_file(&file).expect("made");
    let kept = HostKey::from_file(&file).expect("read");
    assert_eq!(made.fingerprint(), kept.fingerprint());
    std::fs::write(&file, "nonsense").expect("written");
    let refused = HostKey::from_file(&file).expect_err("no key").to_string();
    assert!(refused.contains("host_key"), "{refused}");
}
