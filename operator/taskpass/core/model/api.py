"""The group and version of our API."""

GROUP = "taskpass.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
