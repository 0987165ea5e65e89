//! Who runs a command, for the audit log: the user of the process as the kernel knows it. Nothing
//! that this user can choose is the actor.
//!
//! The uid comes from a system call and not from the owner of `/proc/self`, which is root if the
//! process may not be dumped. `/etc/passwd` is read without NSS: a user of a directory service has
//! no name here, and the uid is enough.

use serde_json::{Map, Value};

use crate::api::audit::{ActorKind, Principal};
use crate::api::authority::Authority;

/// Characters of a claim in the audit log. Longer ones are cut off.
const MAX_CLAIM: usize = 64;

/// The value of `/proc/self/loginuid` before anyone has logged in.
const NO_LOGIN: u32 = u32::MAX;

/// The user of this process, on this machine.
pub fn of_process() -> Principal {
    let read = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    Principal {
        actor: actor(rustix::process::getuid().as_raw(), &read("/etc/passwd")),
        kind: ActorKind::User,
        source: format!("command line {}", read("/proc/sys/kernel/hostname").trim())
            .trim_end()
            .to_owned(),
        context: context(&read("/proc/self/loginuid"), |name| {
            std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
        }),
        authority: Authority::Machine,
    }
}

fn actor(uid: u32, passwd: &str) -> String {
    let name = |line: &str| {
        let mut fields = line.split(':');
        let (name, of) = (fields.next()?.to_owned(), fields.nth(1)?);
        (of.parse() == Ok(uid) && !name.is_empty()).then_some(name)
    };
    match passwd.lines().find_map(name) {
        Some(name) => format!("{name} uid={uid}"),
        None => format!("uid={uid}"),
    }
}

/// What else is known: who logged in, which the kernel keeps across `sudo`, and what the
/// environment claims about the user who called `sudo`.
fn context(login_uid: &str, variable: impl Fn(&str) -> Option<String>) -> Value {
    let mut context = Map::new();
    for (member, name) in [("sudo_user", "SUDO_USER"), ("sudo_uid", "SUDO_UID")] {
        if let Some(claim) = variable(name).filter(|claim| !claim.is_empty()) {
            context.insert(member.into(), printable(&claim).into());
        }
    }
    let login_uid: Option<u32> = login_uid.trim().parse().ok();
    if let Some(uid) = login_uid.filter(|uid| *uid != NO_LOGIN) {
        context.insert("login_uid".into(), uid.into());
    }
    Value::Object(context)
}

/// At most [`MAX_CLAIM`] characters, with control characters escaped.
fn printable(claim: &str) -> String {
    let escaped = claim.chars().flat_map(|c| match c.is_control() {
        true => c.escape_default().collect::<Vec<char>>(),
        false => vec![c],
    });
    escaped.take(MAX_CLAIM).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_actor_is_the_name_of_the_uid_with_the_uid() {
        let passwd = "root:x:0:0::/root:/bin/sh\n# 1000\nbroken\n:x:7:7\nalice:x:1000:1000::/home:/bin/sh\n";
        assert_eq!(actor(1000, passwd), "alice uid=1000");
        assert_eq!(actor(0, passwd), "root uid=0");
        assert_eq!(actor(7, passwd), "uid=7");
        assert_eq!(actor(65532, ""), "uid=65532");
    }

    #[test]
    fn a_context_has_the_login_and_the_claims_about_sudo() {
        let none = |_: &str| None;
        assert_eq!(context("1000\n", none), json!({ "login_uid": 1000 }));
        assert_eq!(context("4294967295", none), json!({}));
        assert_eq!(context("", |_| Some(String::new())), json!({}));
        let claims = |name: &str| Some(format!("{name}\n{}", "x".repeat(100)));
        let context = context("", claims);
        assert_eq!(
            context["sudo_user"],
            format!("SUDO_USER\\n{}", "x".repeat(MAX_CLAIM - 11))
        );
        assert_eq!(context["sudo_uid"].as_str().unwrap().len(), MAX_CLAIM);
    }
}
