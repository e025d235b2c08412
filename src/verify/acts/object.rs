//! Swift: an object there and back.

use bytes::Bytes;
use reqwest::{Method, StatusCode};

use super::super::scene::Scene;
use super::super::walk::{ActResult, Failure};
use crate::cloud::{Api, Body};

/// Bytes of the object.
const SIZE: usize = 1 << 20;

/// Stores an object, lists it, reads it whole and in part, deletes it.
pub(in crate::verify) async fn object(scene: &Scene) -> ActResult {
    let user = scene.user()?;
    let container = &scene.name;
    let path = format!("{container}/object");
    let mut content = vec![0; SIZE];
    rand::RngCore::fill_bytes(&mut rand::rng(), &mut content);
    let content = Bytes::from(content);
    user.exchange(Method::PUT, Api::ObjectStore, container, &[], Body::None).await?;
    user.exchange(Method::PUT, Api::ObjectStore, &path, &[], Body::Bytes(content.clone())).await?;
    let whole = user.exchange(Method::GET, Api::ObjectStore, &path, &[], Body::None).await?;
    if whole.bytes != content {
        return Err(Failure(format!("{SIZE} bytes were stored, {} others came back", whole.bytes.len())));
    }
    let range = [("Range", "bytes=1000-1999")];
    let part = user.exchange(Method::GET, Api::ObjectStore, &path, &range, Body::None).await?;
    if content.get(1000..2000) != Some(part.bytes.as_ref()) {
        return Err(Failure(format!("bytes 1000 to 1999 were asked for, {} others came", part.bytes.len())));
    }
    let list = user.get(Api::ObjectStore, &format!("{container}?format=json")).await?;
    if list[0]["name"] != "object" || list[0]["bytes"] != SIZE {
        return Err(Failure(format!("the container's list is {}", super::short(&list))));
    }
    user.delete(Api::ObjectStore, &path).await?;
    match user.exchange(Method::GET, Api::ObjectStore, &path, &[], Body::None).await {
        Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => {
            Ok("1 MB stored, listed, read back whole and in part, deleted".to_owned())
        }
        Ok(_) => Err(Failure("the deleted object is still there".to_owned())),
        Err(error) => Err(error.into()),
    }
}
