//! `--user`: names and numbers from `/etc/passwd` and `/etc/group`, without a name service.

use alloc::vec::Vec;

use crate::sys::file;

/// More than the largest account files in use.
const LIMIT: usize = 4 << 20;

#[derive(Debug, PartialEq, Eq)]
pub struct Account {
    pub user: u32,
    pub group: u32,
    pub groups: Vec<u32>,
    pub home: Option<Vec<u8>>,
}

pub fn look_up(wanted: &str) -> Result<Account, &'static str> {
    let passwd = file::read_path(c"/etc/passwd", LIMIT).unwrap_or_default();
    let group = file::read_path(c"/etc/group", LIMIT).unwrap_or_default();
    resolve(wanted, &passwd, &group)
}

/// `NAME` or `UID`, with `:GROUP` or `:GID`. A UID that has no account needs no account: its
/// group is then the number of the same value unless one is given.
fn resolve(wanted: &str, passwd: &[u8], group: &[u8]) -> Result<Account, &'static str> {
    let (user, wanted_group) = match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (wanted, None),
    };
    let number: Option<u32> = user.parse().ok();
    let entry = lines(passwd).find(|fields| {
        fields.first() == Some(&user.as_bytes()) || number.is_some() && parse(fields.get(2)) == number
    });
    let entry_user = entry.as_ref().and_then(|fields| parse(fields.get(2)));
    let user_id = entry_user.or(number).ok_or("no such user in /etc/passwd")?;
    let own_group = entry.as_ref().and_then(|fields| parse(fields.get(3))).unwrap_or(user_id);
    let group_id = match wanted_group {
        None => own_group,
        Some(name) => lines(group)
            .find(|fields| fields.first() == Some(&name.as_bytes()))
            .and_then(|fields| parse(fields.get(2)))
            .or_else(|| name.parse().ok())
            .ok_or("no such group in /etc/group")?,
    };
    let mut groups = Vec::from([group_id]);
    if let Some(name) = entry.as_ref().and_then(|fields| fields.first()) {
        for fields in lines(group) {
            let members = fields.get(3).copied().unwrap_or_default();
            if let Some(id) = parse(fields.get(2))
                && members.split(|byte| *byte == b',').any(|member| member == *name)
                && !groups.contains(&id)
            {
                groups.push(id);
            }
        }
    }
    let home = entry.and_then(|fields| fields.get(5).map(|home| home.to_vec()));
    Ok(Account { user: user_id, group: group_id, groups, home })
}

fn lines(file: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    file.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| line.split(|byte| *byte == b':').collect())
}

fn parse(field: Option<&&[u8]>) -> Option<u32> {
    core::str::from_utf8(field?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
        nova:x:42436:42436::/var/lib/nova:/usr/sbin/nologin\nbroken\n";
    const GROUP: &[u8] = b"root:x:0:\nnova:x:42436:\nlibvirt:x:64055:qemu,nova\n\
        kolla:x:42400:nova\nkvm:x:107:\n";

    fn account(wanted: &str) -> Result<(u32, u32, Vec<u32>, bool), &'static str> {
        resolve(wanted, PASSWD, GROUP).map(|a| (a.user, a.group, a.groups, a.home.is_some()))
    }

    #[test]
    fn names_and_numbers_find_their_groups() {
        let nova = Ok((42436, 42436, [42436, 64055, 42400].into(), true));
        assert_eq!(account("nova"), nova);
        assert_eq!(account("42436"), nova);
        let kvm = Ok((42436, 107, [107, 64055, 42400].into(), true));
        assert_eq!(account("nova:kvm"), kvm);
        assert_eq!(account("nova:107"), kvm);
    }

    #[test]
    fn numbers_need_no_account_but_names_do() {
        assert_eq!(account("5000"), Ok((5000, 5000, [5000].into(), false)));
        assert_eq!(account("5000:6000"), Ok((5000, 6000, [6000].into(), false)));
        assert!(account("nobody").is_err());
        assert!(account("nova:nobody").is_err());
        assert!(account("").is_err());
    }
}
