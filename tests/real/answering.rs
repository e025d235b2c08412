//! The program that services of the message bus run in (templates/shared/answering.py), with the real oslo.messaging.

use crate::harness::Cloud;

#[test]
fn a_service_that_is_told_to_end_must_finish_what_it_has_taken_from_its_queue() {
    let cloud = Cloud::new("t-answering", 48);
    for (file, text) in [
        ("answering.py", include_str!("../../templates/shared/answering.py")),
        ("busy.py", include_str!("answering/busy.py")),
        ("busy.conf", include_str!("answering/busy.conf")),
    ] {
        cloud.write(file, text);
    }
    let folder = format!("{}:/work:ro", cloud.dir.path().display());
    let program = ["python3", "/work/answering.py", "127.0.0.1", "8080", "busy"];
    let run = ["run", "--rm", "--network", "none", "--env", "PYTHONPATH=/work", "--volume", &folder];
    let said = cloud.docker(&[&run[..], &["--entrypoint", "", "mastic/keystone:2026.1"], &program].concat());
    assert_eq!(said.trim(), "asked: 200\ndone: 5");
}
