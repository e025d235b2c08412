//! Images that are missing, and ports that somebody else has.

use super::support::{assert_settled, assert_tidy};
use crate::harness::Cloud;

#[test]
fn missing_images_and_taken_ports_must_be_said_before_anything_is_touched() {
    let cloud = Cloud::new("t-ports", 8);

    cloud.write("mastic.yaml", &cloud.profile("images: {pins: {keystone: \"mastic/no-such-image:1\"}}\n"));
    cloud.mastic(&["deploy", "--yes"]).code(1).says("mastic/no-such-image:1").says("mastic build");
    assert_eq!(
        (cloud.containers().len(), cloud.volumes().len()),
        (0, 0),
        "a hopeless deploy has made something"
    );
    cloud.write("mastic.yaml", &cloud.profile(""));

    // A program of somebody else's answers on HAProxy's port: its name and number are said, nothing is touched.
    let taken = std::net::TcpListener::bind((cloud.address.as_str(), 5000)).expect("the port is free");
    let own = format!("(pid {})", std::process::id());
    let port = format!("{}:5000", cloud.address);
    cloud.mastic(&["prechecks"]).code(1).says(&port).says(&own);
    cloud.mastic(&["deploy", "--yes"]).code(1).says(&port).says(&own).says("nothing was touched");
    assert_eq!(
        (cloud.containers().len(), cloud.volumes().len()),
        (0, 0),
        "a hopeless deploy has made something"
    );
    drop(taken);

    // Bound but silent: no knock finds it, so the container fails. Its words are shown, and its set is undone.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket can be made");
    socket.bind(port.parse().expect("an address")).expect("the port is free");
    let failed = cloud
        .mastic(&["deploy", "--yes"])
        .code(6)
        .says("haproxy")
        .says("set ha: was returned to what it was");
    assert!(
        failed.stderr.contains("cannot bind socket"),
        "the container's own words are missing:\n{}",
        failed.stderr
    );
    let left = cloud.containers();
    assert!(!left.keys().any(|name| name.contains("-haproxy-")), "the failed set was left: {left:#?}");
    assert!(!left.keys().any(|name| name.ends_with(".lock")), "the lock was left");
    drop(socket);
    cloud.mastic(&["deploy", "--yes"]).ok();
    assert_settled(&cloud, "once the port is free");

    // The same on a cloud that serves: what is there is not in the way, and a missing image leaves it alone.
    let before = cloud.containers();
    cloud.mastic(&["prechecks"]).ok();
    cloud.write("mastic.yaml", &cloud.profile("images: {pins: {keystone: \"mastic/no-such-image:1\"}}\n"));
    cloud.mastic(&["deploy", "--yes"]).code(1).says("mastic/no-such-image:1");
    assert_eq!(before, cloud.containers());
    assert_tidy(&cloud, "after a missing image");
}
