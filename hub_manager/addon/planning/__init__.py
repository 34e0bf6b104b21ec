"""Plan the writes of the add-on, without performing any. Imports only `federation.{api,kube,pki}`."""
