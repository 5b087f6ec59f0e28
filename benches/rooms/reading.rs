//! What comes in: request heads and batches.

use std::hint::black_box;

use criterion::Criterion;

use encke::bayeux;
use encke::http::head::{Head, HeadScan};
use encke::limits::Limits;

/// What Chrome sends before the body of a connect, from a page of the same site.
const CHROME_HEAD: &str = "POST /cometd/connect HTTP/1.1\r\n\
    Host: app.example\r\n\
    Connection: keep-alive\r\n\
    Content-Length: 102\r\n\
    sec-ch-ua-platform: \"Windows\"\r\n\
    User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 \
    Safari/537.36\r\n\
    sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\", \"Google Chrome\";v=\"140\"\r\n\
    Content-Type: application/json;charset=UTF-8\r\n\
    sec-ch-ua-mobile: ?0\r\n\
    Accept: */*\r\n\
    Origin: https://app.example\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Sec-Fetch-Mode: cors\r\n\
    Sec-Fetch-Dest: empty\r\n\
    Referer: https://app.example/dashboard\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
    Cookie: BAYEUX_BROWSER=jis5wrdkvr3ky2dkrv2evbtt7a; theme=dark\r\n\
    \r\n";

pub(crate) fn head(criterion: &mut Criterion) {
    let limits = Limits::default();
    let bytes = CHROME_HEAD.as_bytes();
    let mut group = criterion.benchmark_group("head");
    group.bench_function("scan", |bencher| {
        bencher.iter(|| HeadScan::default().advance(black_box(bytes), &limits));
    });
    group.bench_function("scan and parse", |bencher| {
        bencher.iter(|| {
            let end = HeadScan::default().advance(black_box(bytes), &limits).unwrap().unwrap();
            Head::parse(&bytes[..end], &limits).unwrap().body
        });
    });
}

pub(crate) fn decode(criterion: &mut Criterion) {
    let limits = Limits::default();
    let connect = "[{\"id\":\"27\",\"channel\":\"/meta/connect\",\"connectionType\":\"long-polling\",\
        \"clientId\":\"aaaaaac3ejp6hnwjpvpawqmfhy5tgirg\"}]";
    let publish = "{\"id\":\"28\",\"channel\":\"/chat/tea\",\"clientId\":\"aaaaaac3ejp6hnwjpvpawqmfhy5tgirg\",\
        \"data\":{\"from\":\"Ada\",\"text\":\"Is there any left?\",\"tags\":[\"tea\",\"milk\"],\"at\":1700000000000}}";
    let ten = format!("[{}]", [publish; 10].join(","));
    let mut group = criterion.benchmark_group("decode");
    for (name, body) in [("connect", connect), ("batch of 10", &ten)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| bayeux::decode(black_box(body.as_bytes()), &limits).unwrap().len());
        });
    }
}
