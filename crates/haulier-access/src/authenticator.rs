//! Finds out who sent a request. Refuses nothing by itself: each room renders its own 401.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::http::HeaderMap;
use axum::middleware::{Next, from_fn};
use haulier_base::{Error, Result, Secret};
use sha2::{Digest, Sha256};

use crate::caller::{ADMIN, Caller, Verdict};

/// The one user when authentication is off (transfer contract §3), and its role.
const OPEN_USER: &str = "admin";

/// Where identities come from.
#[derive(Clone, Debug)]
pub enum AuthMode {
    /// Everybody is the user `admin`.
    Open,
    /// Tokens from the configuration.
    Static(Vec<StaticToken>),
    /// A front has authenticated the user and says so in headers; believed from these networks only.
    Trusted(Vec<Network>),
}

impl AuthMode {
    /// Trusts the identity headers of anybody: for tests, and for sockets only a front can reach.
    pub fn trusted_anywhere() -> Self {
        Self::Trusted(vec![Network::ANY_V4, Network::ANY_V6])
    }
}

/// A token and whom it stands for.
#[derive(Clone, Debug)]
pub struct StaticToken {
    /// The token, as sent in `Authorization: Bearer` or `X-Auth-Token`.
    pub token: Secret<String>,
    /// Whom it stands for.
    pub caller: Caller,
}

/// A block of addresses, written `10.0.0.0/8` or as one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    const ANY_V4: Self = Self { address: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), prefix: 0 };
    const ANY_V6: Self = Self { address: IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), prefix: 0 };

    /// Whether an address lies in the block; an IPv4 address mapped into IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address.to_canonical() {
            IpAddr::V4(v4) => (32, u128::from(v4.to_bits())),
            IpAddr::V6(v6) => (128, v6.to_bits()),
        };
        let ((width, given), (own_width, own)) = (bits(address), bits(self.address));
        width == own_width
            && given.checked_shr(width - self.prefix).unwrap_or(0) == own.checked_shr(width - self.prefix).unwrap_or(0)
    }
}

impl FromStr for Network {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::invalid(format!(
                "\"{text}\" is not a network: write an address or address/prefix, such as 10.0.0.0/8"
            ))
        };
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(width), |p| p.parse().map_err(|_| wrong()))?;
        if prefix > width { Err(wrong()) } else { Ok(Self { address, prefix }) }
    }
}

/// The header that names a user to a front's backend.
const USER_HEADER: &str = "x-user-id";
/// Longest name that a user may give himself, in bytes.
const USER_BYTES_MAX: usize = 255;

/// Finds out who sent a request. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Authenticator(Arc<Known>, Unnamed);

/// Who somebody is that need not say it.
#[derive(Clone, Copy, Debug)]
enum Unnamed {
    /// One user, who may do everything.
    Admin,
    /// Whom the user header names, else this one; without a role.
    SelfNamed(&'static str),
}

#[derive(Debug)]
enum Known {
    Open,
    Static(Vec<([u8; 32], Caller)>),
    Trusted(Vec<Network>),
}

impl Authenticator {
    /// Prepares a mode for use.
    pub fn new(mode: AuthMode) -> Self {
        let known = match mode {
            AuthMode::Open => Known::Open,
            AuthMode::Static(tokens) => {
                Known::Static(tokens.into_iter().map(|t| (digest(t.token.reveal()), t.caller)).collect())
            }
            AuthMode::Trusted(fronts) => Known::Trusted(fronts),
        };
        Self(Arc::new(known), Unnamed::Admin)
    }

    /// The same for an API whose users name themselves in `X-User-Id` while authentication is off (backup contract
    /// §3), and are called `otherwise` when they do not.
    #[must_use]
    pub fn self_named(&self, otherwise: &'static str) -> Self {
        Self(self.0.clone(), Unnamed::SelfNamed(otherwise))
    }

    fn unnamed(&self, headers: &HeaderMap) -> Result<Caller> {
        let Unnamed::SelfNamed(otherwise) = self.1 else {
            return Ok(Caller { roles: vec![ADMIN.to_owned()], ..Caller::named(OPEN_USER) });
        };
        let Some(name) = headers.get(USER_HEADER).filter(|name| !name.is_empty()) else {
            return Ok(Caller::named(otherwise));
        };
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        match name.to_str() {
            Ok(text) if text.len() <= USER_BYTES_MAX && text.as_bytes().iter().all(allowed) => {
                Ok(Caller { user_name: header_text(headers, "x-user-name"), ..Caller::named(text) })
            }
            _ => Err(Error::unauthenticated("X-User-Id: must be 1 to 255 letters, digits, _ and -")),
        }
    }

    /// Who sent these headers from this address.
    ///
    /// # Errors
    /// `Unauthenticated`, with what is missing or not believed.
    pub fn authenticate(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Result<Caller> {
        match &*self.0 {
            Known::Open => self.unnamed(headers),
            Known::Static(tokens) => {
                let token = token(headers).ok_or_else(|| {
                    Error::unauthenticated("a token is required: send Authorization: Bearer or X-Auth-Token")
                })?;
                // Digests are compared, so that the time taken says nothing about the token.
                let given = digest(token);
                tokens
                    .iter()
                    .find(|(known, _)| *known == given)
                    .map(|(_, caller)| caller.clone())
                    .ok_or_else(|| Error::unauthenticated("the token is not known here"))
            }
            Known::Trusted(fronts) => {
                let anywhere = [Network::ANY_V4, Network::ANY_V6].iter().all(|any| fronts.contains(any));
                if !anywhere && !peer.is_some_and(|peer| fronts.iter().any(|front| front.contains(peer))) {
                    return Err(Error::unauthenticated("identity headers are not believed from this address"));
                }
                let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).filter(|v| !v.is_empty());
                match (text("x-identity-status"), text("x-user-id")) {
                    (Some("Confirmed"), Some(user)) => Ok(Caller {
                        user: user.to_owned(),
                        user_name: header_text(headers, "x-user-name"),
                        project: text("x-project-id").map(str::to_owned),
                        roles: text("x-roles")
                            .map(|r| r.split(',').map(|r| r.trim().to_owned()).collect())
                            .unwrap_or_default(),
                        client_id: None,
                    }),
                    _ => Err(Error::unauthenticated("the front did not confirm an identity")),
                }
            }
        }
    }
}

/// Makes every request of a router carry who sent it; see [`Caller::from_parts`].
pub fn layer(router: Router, authenticator: Authenticator) -> Router {
    router.layer(from_fn(move |mut request: Request, next: Next| {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let verdict = authenticator.authenticate(request.headers(), peer).map_err(|e| e.message().to_owned());
        request.extensions_mut().insert(Verdict(verdict));
        next.run(request)
    }))
}

fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get("authorization").and_then(|v| v.to_str().ok()).and_then(|v| {
        let (scheme, token) = v.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    bearer.or_else(|| headers.get("x-auth-token").and_then(|v| v.to_str().ok()))
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use haulier_base::ErrorKind;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn without_authentication_everybody_is_admin() {
        let open = Authenticator::new(AuthMode::Open);
        assert_eq!(open.authenticate(&headers(&[]), None).unwrap().user, "admin");
    }

    #[test]
    fn without_authentication_some_apis_believe_the_name_that_is_given() {
        let open = Authenticator::new(AuthMode::Open).self_named("anonymous");
        let ann = open.authenticate(&headers(&[("x-user-id", "ann"), ("x-user-name", "Ann")]), None).unwrap();
        assert_eq!((ann.user.as_str(), ann.user_name.as_deref(), ann.roles.len()), ("ann", Some("Ann"), 0));
        assert_eq!(open.authenticate(&headers(&[]), None).unwrap().user, "anonymous");
        assert!(open.authenticate(&headers(&[("x-user-id", "a b")]), None).is_err());
        let closed = Authenticator::new(AuthMode::Static(Vec::new())).self_named("anonymous");
        assert!(closed.authenticate(&headers(&[("x-user-id", "ann")]), None).is_err());
    }

    #[test]
    fn a_static_token_stands_for_its_user() {
        let token = StaticToken { token: Secret::new("s3cret".into()), caller: Caller::named("ann") };
        let known = Authenticator::new(AuthMode::Static(vec![token]));
        for good in
            [[("authorization", "Bearer s3cret")], [("authorization", "bearer s3cret")], [("x-auth-token", "s3cret")]]
        {
            assert_eq!(known.authenticate(&headers(&good), None).unwrap().user, "ann");
        }
        for bad in [vec![], vec![("authorization", "Bearer s3cre")], vec![("authorization", "Basic s3cret")]] {
            assert_eq!(known.authenticate(&headers(&bad), None).unwrap_err().kind(), ErrorKind::Unauthenticated);
        }
    }

    #[test]
    fn identity_headers_are_believed_from_fronts_only() {
        let known = Authenticator::new(AuthMode::Trusted(vec!["10.0.0.0/8".parse().unwrap()]));
        let confirmed = headers(&[("x-identity-status", "Confirmed"), ("x-user-id", "ann")]);
        assert_eq!(known.authenticate(&confirmed, Some("10.1.2.3".parse().unwrap())).unwrap().user, "ann");
        assert!(known.authenticate(&confirmed, Some("11.1.2.3".parse().unwrap())).is_err());
        assert!(known.authenticate(&confirmed, None).is_err());
        let invalid = headers(&[("x-identity-status", "Invalid"), ("x-user-id", "ann")]);
        assert!(known.authenticate(&invalid, Some("10.1.2.3".parse().unwrap())).is_err());
    }

    #[test]
    fn networks_contain_their_addresses() {
        let contains =
            |network: &str, address: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
        assert!(contains("127.0.0.1", "127.0.0.1") && contains("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(contains("0.0.0.0/0", "9.9.9.9") && contains("::/0", "fe80::1") && contains("fe80::/10", "fe80::1"));
        assert!(!contains("127.0.0.1", "127.0.0.2") && !contains("0.0.0.0/0", "::1"));
        assert!("10.0.0.0/33".parse::<Network>().is_err() && "x".parse::<Network>().is_err());
    }
}
