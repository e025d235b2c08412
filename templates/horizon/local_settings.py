# Horizon's settings; all others are its own defaults.
DEBUG = False
SECRET_KEY = "{{ secret(name="horizon_secret_key") }}"
# As in the image, where the static files were compressed for it.
WEBROOT = "/"
STATIC_ROOT = "/usr/share/horizon/static"
COMPRESS_OFFLINE = True

# By address and name for clients; by the host's own address for the container's check.
ALLOWED_HOSTS = ["{{ public.name }}", "{{ public.address }}", "{{ host.address }}"]
{%- if public.tls %}
# TLS ends at the proxy, which says so in this header and removes one that a client sent.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CSRF_COOKIE_SECURE = True
SESSION_COOKIE_SECURE = True
{%- endif %}
SESSION_TIMEOUT = {{ var.horizon_session_timeout }}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        "LOCATION": "{% include "shared/memcached" %}".split(","),
        # Pages hold names of files that only their own release has.
        "KEY_PREFIX": "horizon-{{ release }}",
        # A server that is down costs its users a login, not everybody an error.
        "OPTIONS": {"ignore_exc": True, "connect_timeout": 2, "timeout": 2},
    }
}

OPENSTACK_KEYSTONE_URL = "{{ internal_url(proxy="keystone_api", path="/v3") }}"
OPENSTACK_ENDPOINT_TYPE = "internalURL"
OPENSTACK_SSL_CACERT = "{{ tls.ca }}"
OPENSTACK_KEYSTONE_DEFAULT_ROLE = "member"
OPENSTACK_KEYSTONE_MULTIDOMAIN_SUPPORT = {% if var.horizon_domains %}True{% else %}False{% endif %}
WEBSSO_ENABLED = False
TIME_ZONE = "{{ var.horizon_time_zone }}"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "{% if var.horizon_debug %}DEBUG{% else %}WARNING{% endif %}"},
}
