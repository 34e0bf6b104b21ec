"""The existing controller's manifests, verbatim from OCM addon-contrib's `federated-learning-controller`.

Of `README.md` (the first and the last) and `examples/openfl/openfl-README.md`.
"""

FLOWER = """
apiVersion: federation-ai.open-cluster-management.io/v1alpha1
kind: FederatedLearning
metadata:
  name: federated-learning-sample
spec:
  framework: flower
  server:
    image: quay.io/open-cluster-management/federated-learning-application:flower-mnist-latest
    minAvailableClients: 2
    # superlink: superlink.flower-system:9091  # default, can be omitted
  client:
    image: quay.io/open-cluster-management/federated-learning-application:flower-mnist-latest
    # supernode: flower-supernode.flower-addon:9094  # default, can be omitted
    placement:
      clusterSets:
        - global
      predicates:
        - requiredClusterSelector:
            labelSelector:
              matchLabels:
                feature.open-cluster-management.io/addon-flower-addon: available
"""
OPENFL = """
apiVersion: federation-ai.open-cluster-management.io/v1alpha1
kind: FederatedLearning
metadata:
  name: federated-learning-sample
spec:
  framework: openfl
  server:
    image: <your-registry>/openfl-app:latest
    rounds: 3
    minAvailableClients: 2
    listeners:
      - name: server-listener
        port: 31531
        type: NodePort
    storage:
      type: PersistentVolumeClaim # change to S3Bucket for S3-backed storage
      name: model-pvc
      # If you are using the OpenFL framework, make sure to mount the model directory under /workspace
      path: /workspace/models
      size: 2Gi
      # s3:
      #   bucketName: <your-bucket-name>
      #   region: us-east-1
      #   prefix: optional/prefix/
  client:
    image: <your-registry>/openfl-app:latest
    placement:
      clusterSets:
        - global
      predicates:
        - requiredClusterSelector:
            claimSelector:
              matchExpressions:
                - key: federated-learning-sample.client-data
                  operator: Exists
"""
README_VARIANT = OPENFL.replace("31531", "8080").replace("/workspace/models", "/data/models")
