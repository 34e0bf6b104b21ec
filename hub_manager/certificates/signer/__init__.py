"""The certificate authority, its rotation and the issuing of certificates, without I/O. Imports only `federation`."""
