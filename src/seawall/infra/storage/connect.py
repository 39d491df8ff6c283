"""Opens the object store that the settings name."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from seawall.infra.settings import StorageSettings
from seawall.infra.storage.multipart import S3Multipart
from seawall.infra.storage.objects import ObjectStorage
from seawall.infra.storage.rooms import AzureTree, Room, SlashedRoom, Tree
from seawall.kernel.errors import ConfigError
from seawall.kernel.extras import need, optional

if TYPE_CHECKING:
    from obstore import Attributes, exceptions
    from obstore import store as stores
    from obstore.store import ClientConfig, RetryConfig
else:
    exceptions = optional("obstore.exceptions")
    stores = optional("obstore.store")


def open_objects(settings: StorageSettings) -> ObjectStorage:
    """The storage of `settings.driver`: s3, gcs or azure. Raises ConfigError when it cannot be set up."""
    need(settings.driver, f"storage.driver {settings.driver}")
    section = {"s3": settings.s3, "gcs": settings.gcs, "azure": settings.azure}[settings.driver]
    try:
        store = _store(settings, None)
        signer = _store(settings, settings.redirect_endpoint) if settings.redirect_endpoint else None
        tree = _azure_tree(settings, store, signer) if settings.driver == "azure" else None
    except OSError as error:
        raise ConfigError(f"storage.{settings.driver}: {error.filename}: {error.strerror}") from None
    except (exceptions.BaseError, ValueError) as error:
        raise ConfigError(f"storage.{settings.driver}: {str(error).strip().splitlines()[0]}") from None
    return ObjectStorage(
        store,
        prefix=section.rootdirectory,
        redirect=settings.redirect,
        signer=signer,
        redirect_seconds=settings.redirect_seconds,
        part_bytes=section.chunksize,
        upload_memory=settings.upload_memory,
        multipart=_multipart(settings),
        attributes=_attributes(settings),
        tree=tree,
    )


def _attributes(settings: StorageSettings) -> Attributes:
    """What new objects are given in addition to their bytes."""
    # The distribution's word for the bucket's class is NONE.
    if settings.driver == "s3" and settings.s3.storageclass not in (None, "NONE"):
        return {"Storage-Class": settings.s3.storageclass}
    return {}


def _multipart(settings: StorageSettings) -> S3Multipart | None:
    """None where the store is not S3 or its key comes from elsewhere than the settings."""
    s3 = settings.s3
    if settings.driver != "s3" or not s3.accesskey or not s3.secretkey:
        return None
    return S3Multipart(s3, settings.timeout_seconds)


def _store(settings: StorageSettings, endpoint: str | None) -> Any:
    """`endpoint` in place of the configured one."""
    client, retry = _options(settings)
    if settings.driver == "s3":
        return _s3(settings, endpoint, client, retry)
    if settings.driver == "gcs":
        gcs = settings.gcs
        options: dict[str, Any] = {}
        if gcs.keyfile is not None:
            options["service_account_key"] = gcs.keyfile.read_text()
        if endpoint or gcs.endpoint:
            options["base_url"] = endpoint or gcs.endpoint
        return stores.GCSStore(gcs.bucket, client_options=client, retry_config=retry, **options)
    return _azure(settings, settings.azure.container, endpoint)


def _azure(settings: StorageSettings, container: str, endpoint: str | None) -> Any:
    azure = settings.azure
    client, retry = _options(settings)
    options: dict[str, Any] = {"account_name": azure.accountname, "account_key": azure.accountkey}
    if endpoint or azure.endpoint:
        options["endpoint"] = endpoint or azure.endpoint
    given = {key: value for key, value in options.items() if value is not None}
    return stores.AzureStore(container, client_options=client, retry_config=retry, **given)


def _azure_tree(settings: StorageSettings, store: Any, signer: Any) -> Tree:
    """The tree that a Distribution has in the container, whether its names begin with a slash or not."""
    azure = settings.azure
    ours = azure.endpoint or f"https://{azure.accountname}.blob.core.windows.net"

    def slashed(endpoint: str) -> Any:
        return _azure(settings, "", f"{endpoint.rstrip('/')}/{azure.container}")

    theirs = settings.redirect_endpoint
    before = slashed(ours)
    rooted = f"{azure.rootdirectory.strip('/')}/".lstrip("/")
    return AzureTree(
        Room(store, signer or store, rooted),
        SlashedRoom(before, slashed(theirs) if theirs else before, store),
    )


def _options(settings: StorageSettings) -> tuple[ClientConfig, RetryConfig]:
    client: ClientConfig = {
        "connect_timeout": timedelta(seconds=3),
        # Only silence counts: a large part may take its time as long as bytes flow.
        "read_timeout": timedelta(seconds=settings.timeout_seconds),
        "timeout": timedelta(minutes=5),
        "allow_http": True,
    }
    retry: RetryConfig = {
        "max_retries": 10,
        "retry_timeout": timedelta(seconds=settings.retry_seconds),
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=1),
            "base": 2,
        },
    }
    return client, retry


def _s3(settings: StorageSettings, endpoint: str | None, client: ClientConfig, retry: RetryConfig) -> Any:
    s3 = settings.s3
    if s3.skipverify:
        client["allow_invalid_certificates"] = True
    if s3.cacert is not None:
        client["root_certificate"] = s3.cacert.read_bytes()
    options: dict[str, Any] = {
        "region": s3.region,
        "endpoint": endpoint or s3.regionendpoint,
        "access_key_id": s3.accesskey,
        "secret_access_key": s3.secretkey,
        "session_token": s3.sessiontoken,
        "virtual_hosted_style_request": not s3.forcepathstyle,
    }
    if s3.keyid is not None:
        options |= {"server_side_encryption": "aws:kms", "sse_kms_key_id": s3.keyid}
    elif s3.encrypt:
        options["server_side_encryption"] = "AES256"
    given = {key: value for key, value in options.items() if value is not None}
    return stores.S3Store(s3.bucket, client_options=client, retry_config=retry, **given)
