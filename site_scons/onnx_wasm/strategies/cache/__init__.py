"""What actions made, kept for other builds: in a folder of this machine, and on a server that machines share.

A cache is a key's ``ActionResult``, which names the outputs by their digests, and the blobs that have these digests.
The words, the layout and the messages are those of Bazel and the Remote Execution API.
"""
