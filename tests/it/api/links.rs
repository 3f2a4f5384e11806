//! Signed links: they open what they name, for as long as they live, and nothing else.

use nebula_api::{CreateLink, Link, Role, routes};
use nebula_tests::{Appliance, wait};
use reqwest::{Method, StatusCode};

use super::{bucket, get_as_nobody, key, problem, put, request_as};

async fn link(house: &Appliance, body: &CreateLink) -> Link {
    let request = house.request(Method::POST, routes::LINKS).json(body);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    answer.json().await.unwrap()
}

fn to_object(key: &str, expires_in_s: u64) -> CreateLink {
    CreateLink {
        bucket: "films".into(),
        key: Some(key.into()),
        prefix: None,
        expires_in_s,
    }
}

#[tokio::test]
async fn a_link_opens_what_it_names_until_it_is_revoked() {
    let house = Appliance::start().await;
    bucket(&house, "films").await;
    put(&house, "films", "dir/a.txt", b"words").await;
    put(&house, "films", "dir/b.txt", b"other").await;
    let made = link(&house, &to_object("dir/a.txt", 600)).await;
    let urls = made.urls.clone().unwrap();
    assert_eq!(urls.hls, None, "text does not play");
    let read = get_as_nobody(&house, &urls.file).await;
    assert_eq!(read.text().await.unwrap(), "words");
    let other = urls.file.replace("a.txt", "b.txt");
    assert_eq!(get_as_nobody(&house, &other).await.status(), 404);

    let listed = house.get(routes::LINKS).send().await.unwrap();
    let page: nebula_api::Page<Link> = listed.json().await.unwrap();
    let shown = page.items.iter().find(|link| link.id == made.id).unwrap();
    assert_eq!(shown.urls, None, "a listing opens nothing");

    let revoke = || {
        house
            .request(Method::DELETE, &routes::link(&made.id))
            .send()
    };
    assert_eq!(revoke().await.unwrap().status(), StatusCode::NO_CONTENT);
    let refused = get_as_nobody(&house, &urls.file).await;
    assert_eq!(refused.status(), StatusCode::NOT_FOUND);
    assert_eq!(problem(refused).await.code, "link_not_found");
    assert_eq!(revoke().await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_link_to_a_prefix_opens_the_keys_below_it() {
    let house = Appliance::start().await;
    bucket(&house, "films").await;
    put(&house, "films", "dir/a.txt", b"words").await;
    put(&house, "films", "elsewhere", b"other").await;
    let body = CreateLink {
        bucket: "films".into(),
        key: None,
        prefix: Some("dir/".into()),
        expires_in_s: 600,
    };
    let urls = link(&house, &body).await.urls.unwrap();
    let read = get_as_nobody(&house, &format!("{}a.txt", urls.file)).await;
    assert_eq!(read.text().await.unwrap(), "words");
    let outside = urls.file.replace("dir/", "elsewhere");
    assert_eq!(get_as_nobody(&house, &outside).await.status(), 404);
}

#[tokio::test]
async fn a_link_ends_with_its_time() {
    let house = Appliance::start().await;
    bucket(&house, "films").await;
    put(&house, "films", "a.txt", b"words").await;
    let urls = link(&house, &to_object("a.txt", 5)).await.urls.unwrap();
    assert_eq!(get_as_nobody(&house, &urls.file).await.status(), 200);
    wait::until_async("the link has expired", async || {
        get_as_nobody(&house, &urls.file).await.status() == 404
    })
    .await;
}

#[tokio::test]
async fn links_are_made_by_those_who_may_and_to_what_is_there() {
    let house = Appliance::start().await;
    bucket(&house, "films").await;
    put(&house, "films", "a.txt", b"words").await;
    let reader = key(&house, "films", Role::Read).await;
    let request = request_as(&house, &reader, Method::POST, routes::LINKS);
    let answer = request.json(&to_object("a.txt", 60)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let both = CreateLink {
        prefix: Some(String::new()),
        ..to_object("a.txt", 60)
    };
    for (body, status) in [
        (to_object("absent", 60), 404),
        (to_object("a.txt", 0), 400),
        (to_object("a.txt", u64::MAX), 400),
        (both, 400),
    ] {
        let request = house.request(Method::POST, routes::LINKS).json(&body);
        assert_eq!(request.send().await.unwrap().status(), status, "{body:?}");
    }
}
