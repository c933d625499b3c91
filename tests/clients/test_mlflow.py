"""MLflow's artifact store: what experiments log, and what comes back."""
import pytest

pytest.importorskip("mlflow", reason="mlflow is not installed on this machine")


def test_artifacts(nodes, bucket, home, big_file, monkeypatch, tmp_path):
    from mlflow.artifacts import download_artifacts
    from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", nodes.access)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", nodes.secret)

    def repository():
        monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", nodes.next())
        return S3ArtifactRepository(f"s3://{bucket}/experiment/run/artifacts")

    tree = home / "model"
    (tree / "data").mkdir(parents=True)
    (tree / "MLmodel").write_text("flavors: {}")
    (tree / "data" / "weights").write_bytes(b"w" * 3_000_000)
    repository().log_artifacts(str(tree), "model")
    repository().log_artifact(str(big_file), "large")
    assert [(i.path, i.is_dir) for i in repository().list_artifacts()] == [("large", True), ("model", True)]
    assert [(i.path, i.file_size) for i in repository().list_artifacts("model")] == [
        ("model/MLmodel", 11), ("model/data", None)]
    back = repository().download_artifacts("model", str(tmp_path))
    assert (tmp_path / "model" / "data" / "weights").read_bytes() == b"w" * 3_000_000, back
    repository().download_artifacts(f"large/{big_file.name}", str(tmp_path))
    assert (tmp_path / "large" / big_file.name).read_bytes() == big_file.read_bytes()
    path = download_artifacts(artifact_uri=f"s3://{bucket}/experiment/run/artifacts/model/MLmodel", dst_path=str(home))
    with open(path) as f:
        assert f.read() == "flavors: {}"
    repository().delete_artifacts()
    assert repository().list_artifacts() == []
