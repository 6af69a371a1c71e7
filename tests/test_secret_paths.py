"""Files that are secret by their names, and files that only sound like it."""

from __future__ import annotations

import pytest

from slm_lsp.secrets.paths import is_kept_off_disk, is_secret_path, is_secret_uri

SECRET = """
    .env  app/.env  app/.env.local  app/.env.production  prod.env  .envrc  a/.flaskenv
    server.pem  tls.key  a/b.p12  a/b.pfx  a/b.jks  release.keystore  vault.kdbx  AuthKey_1.p8
    id_rsa  id_rsa.old  .ssh/id_ed25519  /home/u/.ssh/config  /home/u/.ssh/known_hosts
    C:\\Users\\u\\.ssh\\config  /home/u/.aws/credentials  /home/u/.aws/config  /home/u/.kube/config
    kubeconfig  prod.kubeconfig  /home/u/.docker/config.json  .docker/config.json
    .npmrc  web/.npmrc  .pypirc  .netrc  _netrc  .pgpass  .htpasswd  etc/htpasswd  .git-credentials
    terraform.tfvars  prod.auto.tfvars  x.tfvars.json  terraform.tfstate  terraform.tfstate.backup
    service-account.json  service-account-prod.json  service_account_key.json
    secrets.yml  secrets.toml  secrets.py  config/secrets.json  .secrets  k8s/secrets/db.yaml
    gcp-credentials.json  client_secret.json  passwords.txt  credentials  .gnupg/pubring.kbx
    key.asc  backup.gpg  secring.gpg  .bash_history  .python_history  .my.cnf
    .cargo/credentials.toml    gh/hosts.yml  config/master.key  .vault-token  SERVER.PEM  .ENV
"""
PLAIN = """
    main.py  src/secret_store.py  test_credentials.py  password.go  CredentialService.java
    slm_lsp/secrets/paths.py  docs/secrets-management.md  reset_password.html  lib/secret.rs
    environment.py  .env.example  .env.sample  .env.template  app/.env.dist  env  envelope.ts
    settings.json  package.json  tsconfig.json  Dockerfile  .docker/php.ini  docker/config.json
    config.json  keys.py  keyboard.key.ts  monkey  tokens.json  history.py  auth.json  LICENSE
    .azure/pipeline.yml  aws/credentials_test.go  main.tf  hosts.yml  a/keychain.swift  .gitignore
"""


@pytest.mark.parametrize("path", SECRET.split())
def test_secret(path: str) -> None:
    assert is_secret_path(path)
    assert is_kept_off_disk(path)


@pytest.mark.parametrize("path", PLAIN.split())
def test_plain(path: str) -> None:
    assert not is_secret_path(path)


@pytest.mark.parametrize(
    "path",
    ["src/secret_store.py", "password.go", "secrets/db.go", ".docker/php.ini", ".env.example"],
)
def test_what_could_hold_a_secret_is_kept_off_the_disk(path: str) -> None:
    assert is_kept_off_disk(path)
    assert not is_secret_path(path)


@pytest.mark.parametrize(
    ("uri", "secret"),
    [
        ("file:///home/u/.env", True),
        ("file:///home/u/%2Eenv", True),
        ("file:///c%3A/u/id_rsa", True),
        ("file://server/share/.env.local", True),
        ("file:///home/u/a.py?x=.env", False),
        ("file:///home/u/a.py#.env", False),
        ("untitled:.env", True),
        ("vscode-remote://ssh-remote+host/home/u/.npmrc", True),
        ("vscode-notebook-cell:/home/u/a.ipynb#W0", False),
        ("file:///home/.env/a.py", False),
        ("", False),
    ],
)
def test_documents(uri: str, secret: bool) -> None:
    assert is_secret_uri(uri) is secret
