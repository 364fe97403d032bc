//! `webdav:` and `webdavs:` URLs with their options.

use haulier_base::{Error, Result, Secret};
use percent_encoding::percent_decode_str;
use reqwest::Certificate;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::Value;
use url::Url;

use crate::connectors::http::options::{basic, parse_url, redact_url as redact_web_url};
use crate::connectors::options::Members;

pub(super) const SECRET_MEMBERS: &[&str] = &["password", "token"];
const MEMBERS: &[&str] = &["user", "password", "token", "ca_pem", "direct"];

/// What URL and options say.
#[derive(Debug)]
pub(super) struct Settings {
    /// The server, without path and credentials.
    pub(super) origin: Url,
    /// The path, decoded.
    pub(super) path: String,
    pub(super) own: Secret<HeaderMap>,
    pub(super) authorities: Vec<Certificate>,
    /// Whether objects are put under their final names at once.
    pub(super) direct: bool,
}

/// Checks all that can be checked without a network.
pub(super) fn parse(url: &str, options: &Value) -> Result<Settings> {
    let url = web_url(url)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Error::invalid("has a ? or # in its path: write %3F or %23"));
    }
    let members = Members::read(options, MEMBERS)?;
    let mut own = HeaderMap::new();
    if let Some(value) = authorization(&url, &members)? {
        let mut value = HeaderValue::from_str(&value)
            .map_err(|_| Error::invalid("has credentials that cannot be sent in a header"))?;
        value.set_sensitive(true);
        own.insert(AUTHORIZATION, value);
    }
    let authorities = members.text("ca_pem")?.map(|pem| Certificate::from_pem_bundle(pem.as_bytes())).transpose();
    let authorities = authorities.ok().filter(|found| found.as_ref().is_none_or(|found| !found.is_empty()));
    let authorities = authorities.ok_or_else(|| Error::invalid("has a ca_pem without a readable certificate"))?;
    let mut origin = url.clone();
    origin.set_path("/");
    // Cannot fail for http and https; the credentials went into a header.
    let _ = origin.set_username("").and_then(|()| origin.set_password(None));
    Ok(Settings {
        origin,
        path: decoded(url.path())?,
        own: Secret::new(own),
        authorities: authorities.unwrap_or_default(),
        direct: members.flag("direct", false)?,
    })
}

fn authorization(url: &Url, members: &Members<'_>) -> Result<Option<String>> {
    let in_url = Some(url.username()).filter(|user| !user.is_empty()).map(decoded).transpose()?;
    let user = members.text("user")?.map(str::to_owned).or(in_url);
    let password = members.text("password")?.map(str::to_owned);
    let password = password.or(url.password().map(decoded).transpose()?);
    match (members.text("token")?, user, password) {
        (Some(_), Some(_), _) => Err(Error::invalid("has both a token and a user")),
        (Some(token), None, _) => Ok(Some(format!("Bearer {token}"))),
        (None, Some(user), password) => Ok(Some(basic(&user, password.as_deref().unwrap_or_default()))),
        (None, None, Some(_)) => Err(Error::invalid("has a password but no user")),
        (None, None, None) => Ok(None),
    }
}

pub(super) fn decoded(text: &str) -> Result<String> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| Error::invalid("is not UTF-8 when decoded"))?;
    Ok(text.into_owned())
}

/// The URL that is asked on the wire.
fn web_url(url: &str) -> Result<Url> {
    let (scheme, rest) = url.split_once(':').ok_or_else(|| Error::invalid("is not a URL"))?;
    let web = if scheme.eq_ignore_ascii_case("webdavs") { "https" } else { "http" };
    parse_url(&format!("{web}:{rest}"))
}

/// Server and path; other names of one server are not seen through.
pub(super) fn identity(url: &str) -> Option<String> {
    let url = web_url(url).ok()?;
    Some(format!("webdav:{}{}", url.origin().ascii_serialization(), decoded(url.path()).ok()?))
}

/// The URL without user name and password.
pub(super) fn redact_url(url: &str) -> String {
    let Ok(web) = web_url(url) else { return "***".to_owned() };
    if web.username().is_empty() && web.password().is_none() {
        return url.to_owned();
    }
    let scheme = if web.scheme() == "https" { "webdavs" } else { "webdav" };
    let shown = redact_web_url(web.as_str());
    shown.split_once(':').map_or("***".to_owned(), |(_, rest)| format!("{scheme}:{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn urls_lead_to_web_servers() {
        let settings = parse("webdavs://ann:p%3Aw@A.example:8443/a%20b/%C3%A9%3F", &Value::Null).unwrap();
        assert_eq!(settings.origin.as_str(), "https://a.example:8443/");
        assert_eq!(settings.path, "/a b/é?");
        assert_eq!(settings.own.reveal().get(AUTHORIZATION).unwrap(), "Basic YW5uOnA6dw==");
        assert!(!format!("{settings:?}").contains("YW5u"), "{settings:?}");
        let settings = parse("WEBDAV://a.example", &json!({"token": "t", "create_parents": true})).unwrap();
        assert_eq!((settings.origin.as_str(), settings.path.as_str()), ("http://a.example/", "/"));
        assert_eq!(settings.own.reveal().get(AUTHORIZATION).unwrap(), "Bearer t");
        for bad in ["webdav:", "webdav:///", "webdav://a/x?y", "webdav://a/x#y", "webdav://a/%ff"] {
            assert!(parse(bad, &Value::Null).is_err(), "{bad}");
        }
    }

    #[test]
    fn options_are_checked() {
        let refused = |options| parse("webdav://a.example/x", &options).unwrap_err().to_string();
        assert!(refused(json!({"username": "u"})).contains("\"username\""));
        assert!(refused(json!({"direct": "yes"})).contains("\"direct\""));
        assert!(refused(json!({"token": "t", "user": "u"})).contains("token"));
        assert!(refused(json!({"password": "hunter2"})).contains("no user"));
        assert!(refused(json!({"ca_pem": "nonsense"})).contains("ca_pem"));
    }

    #[test]
    fn credentials_are_taken_out_of_urls() {
        assert_eq!(redact_url("webdavs://ann:pw@a.example/x"), "webdavs://***@a.example/x");
        assert_eq!(redact_url("webdav://a.example/x y"), "webdav://a.example/x y");
        assert_eq!(identity("webdav://ann@a.example/a%62"), identity("webdav://A.example:80/ab"));
    }
}
