//! What services of the message bus run in (templates/shared/answering.py, finishing.py), with the real oslo.messaging.

use crate::harness::Cloud;

/// Told to stand by, and, once it says that it does, to go on. Then a service that is not asked whether it answers.
const FIRST: &str = "mkdir -p /etc/mastic && echo wait > /etc/mastic/stand-by
(while [ ! -e /tmp/standing-by ]; do sleep 0.1; done; echo stands by; : > /etc/mastic/stand-by) &
python3 /work/answering.py 127.0.0.1 8080 busy
exec python3 /work/finishing.py";

#[test]
fn a_service_must_stand_by_where_it_is_told_to_and_finish_what_it_has_taken_when_it_is_told_to_end() {
    let cloud = Cloud::new("t-answering", 48);
    let mut answering = include_str!("../../templates/shared/answering.py").to_owned();
    let finishing = include_str!("../../templates/shared/finishing.py");
    for (name, text) in
        [("finishing.py", finishing), ("stand-by.py", include_str!("../../templates/shared/stand-by.py"))]
    {
        let include = format!("{{% include \"shared/{name}\" %}}");
        assert!(answering.contains(&include), "{include}");
        answering = answering.replace(&include, text);
    }
    for (file, text) in [
        ("answering.py", answering.as_str()),
        ("finishing.py", &format!("{finishing}\nimport busy\n\nbusy.main(None)\n")),
        ("busy.py", include_str!("answering/busy.py")),
        ("busy.conf", include_str!("answering/busy.conf")),
    ] {
        cloud.write(file, text);
    }
    let folder = format!("{}:/work:ro", cloud.dir.path().display());
    let run = ["run", "--rm", "--network", "none", "--env", "PYTHONPATH=/work", "--volume", &folder];
    let program = ["--entrypoint", "", "mastic/keystone:2026.1", "sh", "-c", FIRST];
    let said = cloud.docker(&[&run[..], &program].concat());
    assert_eq!(said.trim(), "stands by\nasked: 200\ndone: 5\ndone: 5");
}
