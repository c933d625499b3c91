"""restic: a repository that is backed up to, checked, restored and pruned, each time through another node."""
import json
import os

import pytest

from rig import MIB, run, sha256, tool


@pytest.fixture
def restic(nodes, home, bucket):
    program = tool("restic")

    def call(*words):
        env = nodes.environment(home, RESTIC_PASSWORD="secret", RESTIC_REPOSITORY=f"s3:{nodes.next()}/{bucket}/repository")
        return run([program, "--no-cache", *words], env)

    return call


def test_backup_check_restore_prune(restic, nodes, bucket, big_file, home):
    tree = home / "tree"
    tree.mkdir()
    for number in range(200):
        (tree / f"small {number}").write_bytes(os.urandom(number * 50))
    (tree / "big").symlink_to(big_file)
    restic("init")
    restic("backup", str(tree), str(big_file))
    (tree / "small 7").write_bytes(os.urandom(3 * MIB))
    restic("backup", str(tree), str(big_file))
    snapshots = json.loads(restic("snapshots", "--json"))
    assert len(snapshots) == 2
    # Reads parts of the pack files, that is ranges.
    restic("check", "--read-data")
    restic("restore", snapshots[1]["id"], "--target", str(home / "back"))
    for path in [*tree.glob("small *"), big_file]:
        assert sha256(str(home / "back") + str(path)) == sha256(path)
    restic("forget", "--prune", snapshots[0]["id"])
    restic("check", "--read-data")
    assert len(json.loads(restic("snapshots", "--json"))) == 1
    # Nothing is left locked.
    found = nodes.boto3().list_objects_v2(Bucket=bucket, Prefix="repository/locks/")
    assert found["KeyCount"] == 0
