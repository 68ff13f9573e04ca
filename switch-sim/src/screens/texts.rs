//! The sections of the template file and their fields.

/// One row a section: its name in the program, its name in the file, its fields in the order of the values.
macro_rules! texts {
    ($($text:ident $section:literal [$($field:literal)*];)*) => {
        /// A text or a part of a screen.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Text { $(#[doc = concat!("`", $section, "`")] $text,)* }

        impl Text {
            /// All of them.
            pub const ALL: &[Text] = &[$(Text::$text,)*];

            /// The name of the section in the file.
            pub fn section(self) -> &'static str {
                match self { $(Text::$text => $section,)* }
            }

            /// The fields of the section.
            pub fn fields(self) -> &'static [&'static str] {
                match self { $(Text::$text => &[$($field),*],)* }
            }
        }
    };
}

texts! {
    Invalid "error.invalid" ["input"];
    Ambiguous "error.ambiguous" ["input"];
    Incomplete "error.incomplete" [];
    LineTooLong "error.line-too-long" ["max"];
    Unrecognized "help.unrecognized" [];

    NameTooLong "error.name-too-long" ["name" "max"];
    BadName "error.bad-name" ["name"];
    RealExists "error.real-exists" ["name"];
    VirtualExists "error.virtual-exists" ["name"];
    AddressInUse "error.address-in-use" ["address" "name"];
    BadAddress "error.bad-address" ["address"];
    NoSuchReal "error.no-such-real" ["name"];
    RealLeaving "error.real-leaving" ["name"];
    NoSuchVirtual "error.no-such-virtual" ["name"];
    NoSuchPort "error.no-such-port" ["port" "name"];
    AlreadyBound "error.already-bound" ["name" "port"];
    NotBound "error.not-bound" ["name" "port"];
    DefaultPort "error.default-port" [];
    NoSuchBlock "error.no-such-block" ["kind" "name"];
    StringTooLong "error.string-too-long" ["text" "max"];
    NeedsForward "error.needs-forward" ["rule"];
    OtherSwitching "error.other-switching" ["other" "name"];
    MaskedPassword "error.masked-password" [];
    NoSuchSession "error.no-such-session" ["number"];
    ConfigBusy "error.config-busy" [];
    Tftp "error.tftp" [];
    Full "error.full" ["what" "max"];
    Unsupported "error.unsupported" ["what"];
    Failed "error.failed" ["why"];

    NoPassword "enable.no-password" [];
    LoginFailed "login.failed" [];
    EnableName "enable.name" [];
    EnablePassword "enable.password" [];
    EnableWrong "enable.wrong" [];
    SkipPage "page.skip" [];
    Page "page.on" [];
    More "page.more" [];
    WriteMemory "write-memory" [];
    Deleted "server-deleted" ["name"];
    TooManySessions "session.too-many" [];

    ConfigWarning "config.warning" ["users"];
    SynProxyWarning "syn-proxy.warning" ["value"];
    ReloadQuestion "reload.question" [];

    RunningHead "running-config.head" ["bytes"];
    RunningVersion "running-config.version" [];
    StartupHead "configuration.head" ["bytes"];
    StartupNone "configuration.none" [];

    BindHead "server-bind.head" [];
    BindVirtual "server-bind.virtual" ["name" "status" "address"];
    BindFirst "server-bind.first" ["port" "real" "address" "real-port" "state"];
    BindNext "server-bind.next" ["port" "real" "address" "real-port" "state"];
    BindNone "server-bind.none" ["port"];
    BindFoot "server-bind.foot" [];

    RealHead "server-real.head" [];
    RealServer "server-real.server" ["name" "state" "address" "range" "mac" "weight" "max-conn" "src-nat" "dst-nat" "src-nat-number" "dst-nat-number" "remote"];
    RealPort "server-real.port" ["port" "state" "code" "current" "total" "rx-packets" "tx-packets" "rx-octets" "tx-octets" "reassigned"];
    RealTotal "server-real.total" ["current" "total" "rx-packets" "tx-packets" "rx-octets" "tx-octets" "reassigned"];
    RealFoot "server-real.foot" [];

    VirtualHead "server-virtual.head" [];
    VirtualServer "server-virtual.server" ["name" "state" "address" "range" "predictor" "acl" "total" "priority"];
    VirtualPort "server-virtual.port" ["port" "state" "sticky" "concurrent" "proxy" "dsr" "current" "total" "peak"];
    VirtualTail "server-virtual.tail" [];
    VirtualFoot "server-virtual.foot" [];

    SessionsHead "server-sessions.head" ["free" "max" "forward" "reverse" "reassigned" "unsuccessful"];
    SessionsRow "server-sessions.row" ["name" "state" "current" "total" "reverse" "sessions" "peak"];
    ConnHead "server-conn.head" [];
    ConnRow "server-conn.row" ["name" "port" "max" "current" "total" "peak"];
    Global "server-global" ["predictor" "force-delete" "reassign-threshold" "tcp-age" "udp-age" "sticky-age" "ping-interval" "ping-retries" "syn-limit"];
    Traffic "server-traffic" ["client-server" "server-client" "finished" "unsuccessful"];
    Backup "server-backup" [];
    KeepAlive "server-proxy-keep-alive" [];
    SessionDetail "session-detail" ["index"];
    Holddown "security-holddown" [];
    CacheGroup "cache-group.group" ["group" "members" "admin" "active" "dest-mask" "src-mask"];
    CacheServer "cache-group.server" ["name" "state"];
    CacheHash "cache-hash" ["group" "size" "dest-mask" "src-mask" "bucket" "server"];
    BlockHead "block.head" ["line"];
    BlockLine "block.line" ["line"];
    PolicyHead "csw-policy.head" ["name"];
    PolicyRow "csw-policy.row" ["line" "hits"];

    Version "version" ["host" "release" "started" "uptime"];
    Chassis "chassis" [];
    Flash "flash" [];
    Module "module" [];
    Media "media" [];
    Clock "clock" ["started" "uptime"];
    Interfaces "interfaces" [];
    Span "span" [];
    Memory "memory" [];
    Cpu "cpu" [];
    Ip "ip" ["address" "mask" "gateway"];
    ArpHead "arp.head" ["count"];
    ArpRow "arp.row" ["number" "address" "mac"];
    WhoConsole "who.console" [];
    WhoTelnet "who.telnet" [];
    WhoSsh "who.ssh" [];
    WhoRow "who.row" ["number" "peer" "user" "privilege" "config"];
    WhoOwn "who.own" [];
    WhoIdle "who.idle" ["seconds"];
    UsersHead "users.head" [];
    UsersRow "users.row" ["name" "level"];
    LogHead "log.head" ["count"];
    LogRow "log.row" ["at" "text"];
}
