//! Calls about identities and certificates.

use http::Method;

use super::{Client, ClientError, NOTHING, word};
use crate::api::types::{
    AddIdentity, CertificatesInfo, ChangeIdentity, EnvironmentInfo, IdentityInfo, Removed,
    RotateKeys, WhichKey,
};

fn path(identity: &str) -> String {
    format!("/v1/identities/{}", word(identity))
}

impl Client {
    /// All identities, without their keys.
    ///
    /// # Errors
    /// As all calls.
    pub async fn identities(&self) -> Result<Vec<IdentityInfo>, ClientError> {
        self.call(Method::GET, "/v1/identities", NOTHING).await
    }

    /// One identity, with its keys if they are asked for.
    ///
    /// # Errors
    /// There is no such identity.
    pub async fn identity(
        &self,
        identity: &str,
        secrets: bool,
    ) -> Result<IdentityInfo, ClientError> {
        let path = format!("{}?secrets={secrets}", path(identity));
        self.call(Method::GET, &path, NOTHING).await
    }

    /// Makes an identity; the answer has its keys.
    ///
    /// # Errors
    /// It is there, its device is not, or what was given is no key or thumbprint.
    pub async fn add_identity(&self, request: &AddIdentity) -> Result<IdentityInfo, ClientError> {
        self.call(Method::POST, "/v1/identities", Some(request))
            .await
    }

    /// Replaces keys; the answer has them.
    ///
    /// # Errors
    /// There is no such identity, or it has no keys.
    pub async fn rotate_keys(
        &self,
        identity: &str,
        which: WhichKey,
    ) -> Result<IdentityInfo, ClientError> {
        let path = format!("{}/rotate", path(identity));
        self.call(Method::POST, &path, Some(&RotateKeys { which }))
            .await
    }

    /// Lets an identity in, or keeps it out; puts a device behind a gateway.
    ///
    /// # Errors
    /// There is no such identity or gateway, or it is the device itself.
    pub async fn change_identity(
        &self,
        identity: &str,
        change: &ChangeIdentity,
    ) -> Result<IdentityInfo, ClientError> {
        self.call(Method::PATCH, &path(identity), Some(change))
            .await
    }

    /// Removes an identity, and with a device its modules.
    ///
    /// # Errors
    /// There is no such identity, or it is the device itself.
    pub async fn remove_identity(&self, identity: &str) -> Result<Removed, ClientError> {
        self.call(Method::DELETE, &path(identity), NOTHING).await
    }

    /// What a process on the device's machine needs to act as a module of it.
    ///
    /// # Errors
    /// There is no such module.
    pub async fn environment(
        &self,
        module: &str,
        secrets: bool,
    ) -> Result<EnvironmentInfo, ClientError> {
        let path = format!("/v1/environments/{}?secrets={secrets}", word(module));
        self.call(Method::GET, &path, NOTHING).await
    }

    /// The device's certificates, and what clients are to trust.
    ///
    /// # Errors
    /// As all calls.
    pub async fn certificates(&self) -> Result<CertificatesInfo, ClientError> {
        self.call(Method::GET, "/v1/certificates", NOTHING).await
    }
}
