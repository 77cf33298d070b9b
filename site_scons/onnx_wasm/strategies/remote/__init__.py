"""A server of the Remote Execution API, version 2: it keeps results as a cache, and runs actions.

Source of all that goes over the wire: https://github.com/bazelbuild/remote-apis,
build/bazel/remote/execution/v2/remote_execution.proto.
"""
