"""A million runs on Kubernetes: Dask's operator starts pods, and a worker in each of them makes packs.

    helm repo add dask https://helm.dask.org
    helm install --create-namespace --namespace dask-operator --generate-name dask/dask-kubernetes-operator
    pip install 'tegum[cluster]' dask-kubernetes
    python kubernetes.py

The image has to have the same versions of Python, of tegum and of its libraries as the machine on which this runs. The
secret `lab-s3` holds the keys of the object store; this machine has them as variables of its environment. What is asked
of Kubernetes is tested as a text, but this has not been run on a Kubernetes cluster.
"""

from dask_kubernetes.operator import KubeCluster, make_cluster_spec
from distributed import Client

import tegum as tg

IMAGE, PODS, OUT = "registry.example.org/lab/tegum:0.1.0", 100, "s3://lab/pairs"
SPEC = tg.Spec(
    features=[tg.Correlated(size=2, density=0.05)] * 3, hidden=2, training=tg.Sampled(steps=10_000), seeds=10_000
)
PARAMETERS = {"density": tg.Between(0.01, 1.0, scale="log", count=25), "rate": [3e-4, 1e-3, 3e-3, 1e-2]}


def secret(name: str, key: str) -> dict:
    """A variable of the pods whose value is in the secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": "lab-s3", "key": key}}}


def cluster_spec() -> dict:
    """Pods of one core and one worker with one thread each, and one for the scheduler."""
    made = make_cluster_spec(
        name="tegum",
        image=IMAGE,
        n_workers=PODS,
        worker_command="dask worker --nthreads 1",
        resources={"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "2Gi"}},
        env=[
            {"name": "AWS_REGION", "value": "eu-central-1"},
            secret("AWS_ACCESS_KEY_ID", "id"),
            secret("AWS_SECRET_ACCESS_KEY", "key"),
        ],
    )
    # The operator would call `dask-scheduler`, which recent versions of distributed do not install any more.
    made["spec"]["scheduler"]["spec"]["containers"][0]["args"] = ["dask", "scheduler", "--host", "0.0.0.0"]
    return made


if __name__ == "__main__":
    with KubeCluster(custom_cluster_spec=cluster_spec()) as pods, Client(pods) as client:
        tg.sweep(SPEC, PARAMETERS, keep=["loss", "polytope_names", "dimensionality"], out=OUT, executor=client)
