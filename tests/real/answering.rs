//! The program that services of the message bus run in (templates/shared/answering.py), with the real oslo.messaging.

use crate::harness::Cloud;

/// Told to stand by, and, once it says that it does, to go on.
const FIRST: &str = "mkdir -p /etc/mastic && echo wait > /etc/mastic/stand-by
(while [ ! -e /tmp/standing-by ]; do sleep 0.1; done; echo stands by; : > /etc/mastic/stand-by) &
exec python3 /work/answering.py 127.0.0.1 8080 busy";

#[test]
fn a_service_must_stand_by_where_it_is_told_to_and_finish_what_it_has_taken_when_it_is_told_to_end() {
    let cloud = Cloud::new("t-answering", 48);
    let include = "{% include \"shared/stand-by.py\" %}";
    let answering = include_str!("../../templates/shared/answering.py");
    assert!(answering.contains(include));
    let answering = answering.replace(include, include_str!("../../templates/shared/stand-by.py"));
    for (file, text) in [
        ("answering.py", answering.as_str()),
        ("busy.py", include_str!("answering/busy.py")),
        ("busy.conf", include_str!("answering/busy.conf")),
    ] {
        cloud.write(file, text);
    }
    let folder = format!("{}:/work:ro", cloud.dir.path().display());
    let run = ["run", "--rm", "--network", "none", "--env", "PYTHONPATH=/work", "--volume", &folder];
    let program = ["--entrypoint", "", "mastic/keystone:2026.1", "sh", "-c", FIRST];
    let said = cloud.docker(&[&run[..], &program].concat());
    assert_eq!(said.trim(), "stands by\nasked: 200\ndone: 5");
}
