//! Users of this host, as passwd(5) and group(5) have them.
//!
//! In: a name or a number. Out: who that is. Reads the two files and asks no directory service: a user that is only
//! there has a number here and no name.

use std::fs;
use std::io;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The login name.
    pub name: String,
    /// The number.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// The other groups.
    pub groups: Vec<u32>,
    /// The home directory.
    pub home: String,
    /// The login shell.
    pub shell: String,
}

/// The two files as they were at one moment.
#[derive(Debug, Default)]
pub struct Users {
    passwd: String,
    group: String,
}

impl Users {
    /// Reads them.
    ///
    /// # Errors
    /// Where there is no passwd(5).
    pub fn read() -> io::Result<Self> {
        let passwd = fs::read_to_string("/etc/passwd")?;
        Ok(Self { passwd, group: fs::read_to_string("/etc/group").unwrap_or_default() })
    }

    /// From their texts.
    #[must_use]
    pub fn of(passwd: &str, group: &str) -> Self {
        Self { passwd: passwd.to_owned(), group: group.to_owned() }
    }

    /// The first user with this name or number.
    #[must_use]
    pub fn find(&self, wanted: &str) -> Option<User> {
        let mut user = self.passwd.lines().find_map(|line| {
            let fields: Vec<_> = line.split(':').collect();
            let [name, _, uid, gid, _, home, shell] = fields.as_slice() else { return None };
            if *name != wanted && *uid != wanted {
                return None;
            }
            Some(User {
                name: (*name).to_owned(),
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
                groups: Vec::new(),
                home: (*home).to_owned(),
                shell: (*shell).to_owned(),
            })
        })?;
        let member_of = |line: &str| {
            let fields: Vec<_> = line.split(':').collect();
            let [_, _, gid, members] = fields.as_slice() else { return None };
            members.split(',').any(|member| member == user.name).then(|| gid.parse().ok())?
        };
        user.groups = self.group.lines().filter_map(member_of).collect();
        Some(user)
    }

    /// The number behind a name, or a number itself: users of a directory service are known by it alone.
    #[must_use]
    pub fn uid(&self, wanted: &str) -> Option<u32> {
        self.find(wanted).map(|user| user.uid).or_else(|| wanted.parse().ok())
    }

    /// The name of a number; its first one, where it has several.
    #[must_use]
    pub fn name(&self, uid: u32) -> Option<String> {
        self.find(&uid.to_string()).map(|user| user.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Users {
        Users::of(
            "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1001:Alice:/home/alice:/bin/zsh\n",
            "root:x:0:\ndocker:x:998:bob,alice\nalice:x:1001:\n",
        )
    }

    #[test]
    fn finds_by_name_and_by_number_with_groups() {
        let alice = users().find("alice").unwrap();
        assert_eq!((alice.uid, alice.gid, alice.groups.as_slice()), (1000, 1001, [998].as_slice()));
        assert_eq!(users().find("1000"), Some(alice));
        assert_eq!(users().find("eve"), None);
    }

    #[test]
    fn a_number_without_a_name_is_known_and_a_name_without_a_number_is_not() {
        assert_eq!((users().uid("alice"), users().uid("70000"), users().uid("eve")), (Some(1000), Some(70_000), None));
        assert_eq!((users().name(1000).as_deref(), users().name(70_000)), (Some("alice"), None));
    }
}
