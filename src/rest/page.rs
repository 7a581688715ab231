//! The page at `/`: documents the API, and lets a person try a tool. All of it comes from this binary, and it loads nothing
//! from anywhere else. Nobody needs a key for it: it asks for one, and shows nothing that the key does not open.

use std::sync::LazyLock;

use axum::{
    Router,
    extract::Request,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use http::{
    HeaderMap, HeaderValue,
    header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_FRAME_OPTIONS},
};

use super::{content::Content, wrong_method};

/// Scripts, styles and requests of this server only, in nobody's frame. Swagger UI writes styles into elements, and its icons
/// are in its styles.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const TEXT: &str = "text/plain; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

macro_rules! file {
    ($name:literal, $media_type:expr) => {
        (concat!("/page/", $name), $media_type, include_bytes!(concat!("page/", $name)).as_slice(), false)
    };
    ($name:literal, $media_type:expr, packed) => {
        (concat!("/page/", $name), $media_type, include_bytes!(concat!("page/", $name, ".gz")).as_slice(), true)
    };
}

/// Path, media type, content, and whether it is packed.
type File = (&'static str, &'static str, &'static [u8], bool);

const FILES: &[File] = &[
    ("/", "text/html; charset=utf-8", include_bytes!("page/index.html"), false),
    file!("page.js", SCRIPT),
    file!("page.css", STYLE),
    file!("icon.svg", "image/svg+xml"),
    file!("swagger-ui-bundle.js", SCRIPT, packed),
    file!("swagger-ui.css", STYLE, packed),
    file!("swagger-ui-bundle.js.LICENSE.txt", TEXT, packed),
    file!("LICENSE", TEXT, packed),
    file!("NOTICE", TEXT, packed),
];

static CONTENTS: LazyLock<Vec<(&str, Content)>> = LazyLock::new(|| {
    let content = |(path, media_type, bytes, packed): &File| (*path, Content::new(media_type, *bytes, *packed));
    FILES.iter().map(content).collect()
});

pub fn routes() -> Router {
    let router = FILES.iter().fold(Router::new(), |router, (path, ..)| router.route(path, get(serve)));
    // Where many servers have their documentation.
    router.route("/docs", get(async || Redirect::permanent("./"))).method_not_allowed_fallback(wrong_method)
}

async fn serve(headers: HeaderMap, request: Request) -> Response {
    let Some((_, content)) = CONTENTS.iter().find(|(path, _)| *path == request.uri().path()) else {
        return super::nothing_here(request.uri().clone()).await.into_response();
    };
    let mut response = content.answer(&headers);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}
