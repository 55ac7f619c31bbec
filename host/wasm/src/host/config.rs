//! `wasi:config`: the `env` of the deployment.

use wasmtime::Result;

use super::HostState;
use super::bindings::wasi::config::store::{Error, Host};

impl Host for HostState {
    fn get(&mut self, key: String) -> Result<Result<Option<String>, Error>> {
        Ok(Ok(self.shared.env.get(&key).cloned()))
    }

    fn get_all(&mut self) -> Result<Result<Vec<(String, String)>, Error>> {
        let pair = |(key, value): (&String, &String)| (key.clone(), value.clone());
        Ok(Ok(self.shared.env.iter().map(pair).collect()))
    }
}
