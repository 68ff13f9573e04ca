//! The device itself: its name, users and passwords, how long a session may be silent, addresses.

use super::{Action, Call, NEWER, Step, Trouble, both, run, set};
use crate::chassis::access::{Level, Masked, Secret, USERS_MAX, User};
use crate::grammar::{Form, Row};
use crate::screens::Text;
use crate::shell::LoginAsks;
use crate::slb::change::Refusal;

/// See the module.
pub(super) static ROWS: &[Row<Action>] = &[
    run("hostname <word>", "Name of this device", hostname),
    run("no hostname", "Name of this device", hostname),
    run("username <word> password <secret>", "Local user", username),
    run("username <word> password 8 <secret>", "A password as it was saved", username),
    run("username <word> privilege <0-5> password <secret>", "Local user", username),
    run("username <word> privilege <0-5> password 8 <secret>", "A password as it was saved", username),
    run("username <word> nopassword", "Local user without a password", username),
    run("username <word> privilege <0-5> nopassword", "Local user without a password", username),
    run("no username <word>", "Local user", no_username),
    run("enable super-user-password <secret>", "Everything", super_user),
    run("enable super-user-password 8 <secret>", "A password as it was saved", super_user),
    run("no enable super-user-password", "Everything", super_user),
    run("enable port-config-password <secret>", "Interfaces", port_config),
    run("enable port-config-password 8 <secret>", "A password as it was saved", port_config),
    run("no enable port-config-password", "Interfaces", port_config),
    run("enable read-only-password <secret>", "Nothing but looking", read_only),
    run("enable read-only-password 8 <secret>", "A password as it was saved", read_only),
    run("no enable read-only-password", "Nothing but looking", read_only),
    run("enable telnet password <secret>", "The password of a login without a name", telnet_password),
    run("enable telnet password 8 <secret>", "A password as it was saved", telnet_password),
    run("no enable telnet password", "The password of a login without a name", telnet_password),
    both("enable telnet authentication", "Logins need a user", telnet_authentication),
    both("aaa authentication login default {local|line|enable|tacacs+|radius|none}", "Who may log in", aaa_login),
    both("aaa authentication login privilege-mode", "A login ends in Privileged mode", aaa_privilege_mode),
    both("aaa authentication enable default {local|line|enable|tacacs+|radius|none}", "Who may `enable`", aaa_enable),
    set("privilege exec level <0-5*> <line>", "Commands for less privileged users"),
    set("telnet timeout <0-240>", "Minutes that a session may be silent; 0 is for ever"),
    set("telnet server suppress-reject-message", "Refuse in silence"),
    set("console timeout <0-240>", "Minutes that the console may be silent"),
    set("ip address <ip> <ip>", "Address and mask of this device"),
    set("ip default-gateway <ip>", "Way to everywhere else"),
    set("ip route <ip*> <ip*> <ip>", "Way to a network"),
    set("ip ssh timeout <1-120>", "Seconds for an SSH login").on(NEWER),
    run("crypto key generate", "Make a host key", nothing).on(NEWER),
    run("crypto key zeroize", "Forget the host key", nothing).on(NEWER),
    set("logging <ip*>", "Send the log there"),
    set("logging buffered <1-1000>", "Lines of log to keep"),
    set("sntp server <ip*>", "Take the time from there"),
    set("snmp-server contact <line>", "Who looks after this device"),
    set("snmp-server location <line>", "Where this device is"),
    set("clock timezone <word>", "Time zone"),
    set("banner motd <line>", "Text before the login"),
];

fn done() -> Result<Step, Trouble> {
    Ok(Step::Say(Vec::new()))
}

fn nothing(_: &mut Call<'_>) -> Result<Step, Trouble> {
    done()
}

fn hostname(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let factory = call.device.settings.hostname.clone();
    let name = call.found.arguments.text(0).cloned().unwrap_or(factory);
    // What would end a prompt cannot stand in it.
    if name.contains(['#', '>', '(', ')']) {
        return Err(Refusal::BadName { name }.into());
    }
    call.device.host = name;
    done()
}

/// The secret of this line, from its plain text or as it was saved; none behind `no` and `nopassword`.
fn secret(call: &mut Call<'_>, nth: usize) -> Result<Option<Secret>, Trouble> {
    let Some(text) = call.found.arguments.text(nth).cloned() else { return Ok(None) };
    let saved = call.found.line.contains(" 8 ");
    let secret = if saved { Secret::saved(&text) } else { Some(Secret::new(&text, &mut call.device.chance)) };
    // What a screen printed in its place is no password.
    match secret.filter(|_| text != Masked::STARS) {
        Some(secret) => Ok(Some(secret)),
        None => Err(Trouble::Said(call.device.templates.lines(Text::MaskedPassword, &[]))),
    }
}

fn username(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let name = call.found.arguments.text(0).cloned().ok_or(Trouble::Incomplete)?;
    let level = call.found.arguments.number(0).map_or(Level::SUPER_USER, |number| Level(*number as u8));
    let secret = secret(call, 1)?;
    let users = &mut call.device.access.users;
    users.retain(|user| user.name != name);
    if users.len() >= USERS_MAX {
        return Err(Refusal::Full { what: "users", max: USERS_MAX }.into());
    }
    users.push(User { name, level, secret });
    done()
}

fn no_username(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let name = call.found.arguments.text(0).cloned().unwrap_or_default();
    call.device.access.users.retain(|user| user.name != name);
    done()
}

fn super_user(call: &mut Call<'_>) -> Result<Step, Trouble> {
    enable_password(call, Level::SUPER_USER)
}

fn port_config(call: &mut Call<'_>) -> Result<Step, Trouble> {
    enable_password(call, Level::PORT_CONFIG)
}

fn read_only(call: &mut Call<'_>) -> Result<Step, Trouble> {
    enable_password(call, Level::READ_ONLY)
}

fn enable_password(call: &mut Call<'_>, level: Level) -> Result<Step, Trouble> {
    let secret = secret(call, 0)?;
    call.device.access.set_enable(level, secret);
    done()
}

fn telnet_password(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let secret = secret(call, 0)?;
    let access = &mut call.device.access;
    if access.login != LoginAsks::NameAndPassword {
        access.login = if secret.is_some() { LoginAsks::Password } else { LoginAsks::Nothing };
    }
    access.telnet_password = secret;
    done()
}

/// What a login asks when neither a user is wanted nor anything else said.
fn login_without_users(call: &Call<'_>) -> LoginAsks {
    if call.device.access.telnet_password.is_some() { LoginAsks::Password } else { LoginAsks::Nothing }
}

fn telnet_authentication(call: &mut Call<'_>) -> Result<Step, Trouble> {
    call.device.access.login = match call.form() {
        Form::Plain => LoginAsks::NameAndPassword,
        Form::No => login_without_users(call),
    };
    kept(call)
}

fn aaa_login(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let method = call.found.arguments.choice(0).copied().filter(|_| call.form() == Form::Plain);
    call.device.access.login = match method {
        Some("line" | "enable") | None => login_without_users(call),
        Some("none") => LoginAsks::Nothing,
        // Without a TACACS+ or RADIUS server the local users answer.
        Some(_) => LoginAsks::NameAndPassword,
    };
    kept(call)
}

fn aaa_privilege_mode(call: &mut Call<'_>) -> Result<Step, Trouble> {
    call.device.access.login_is_privileged = call.form() == Form::Plain;
    kept(call)
}

fn aaa_enable(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let method = call.found.arguments.choice(0).copied().filter(|_| call.form() == Form::Plain);
    call.device.access.enable_asks_user = matches!(method, Some("local" | "tacacs+" | "radius"));
    kept(call)
}

fn kept(call: &Call<'_>) -> Result<Step, Trouble> {
    Ok(Step::Change(call.kept(Some(call.found.line.clone()))?, None))
}
