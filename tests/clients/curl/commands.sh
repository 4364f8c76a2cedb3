# shellcheck shell=bash
# The commands of IBM's page on Analytics Engine's Livy batches API, in its order and as they stand there, but for the
# host ($API), the instance ($INSTANCE), the token ($TOKEN) and the batch ($BATCH).

submit_inline() {
curl \
-H "Authorization: Bearer $TOKEN" \
-H 'Content-Type: application/json' \
-d '{ "file": "/ cos://<application-bucket-name>.<cos-reference-name>/my_spark_application.py"
", \
"conf": { \
      "spark.hadoop.fs.cos.<cos-reference-name>.endpoint": "https://s3.us-south.cloud-object-storage.appdomain.cloud", \
      "spark.hadoop.fs.cos.<cos-reference-name>.access.key": "<access_key>", \
      "spark.hadoop.fs.cos.<cos-reference-name>.secret.key": "<secret_key>", \
      "spark.app.name": "MySparkApp" \
      } \
}' \
-X POST "$API"/v3/analytics_engines/"$INSTANCE"/livy/batches
}

submit() {
curl -i -X POST "$API"/v3/analytics_engines/"$INSTANCE"/livy/batches -H 'content-type: application/json' -H "Authorization: Bearer $TOKEN" -d @livypayload.json
}

read_batch() {
curl \
-H "Authorization: Bearer $TOKEN" \
-H 'Content-Type: application/json' \
-X GET "$API"/v3/analytics_engines/"$INSTANCE"/livy/batches/"$BATCH"
}

read_batch_with_headers() {
curl -i -X GET "$API"/v3/analytics_engines/"$INSTANCE"/livy/batches/"$BATCH" -H 'content-type: application/json' -H "Authorization: Bearer $TOKEN"
}

read_state() {
curl \
-H "Authorization: Bearer $TOKEN" \
-H 'Content-Type: application/json' \
-X GET "$API"/v3/analytics_engines/"$INSTANCE"/livy/batches/"$BATCH"/state
}

read_state_with_headers() {
curl -i -X GET "$API"/v3/analytics_engines/"$INSTANCE"/livy/batches/"$BATCH"/state -H 'content-type: application/json' -H "Authorization: Bearer $TOKEN"
}

list() {
curl \
-H "Authorization: Bearer $TOKEN" \
-H 'Content-Type: application/json' \
-X GET "$API"/v3/analytics_engines/"$INSTANCE"/livy/batches
}

list_with_headers() {
curl -i -X GET "$API"/v3/analytics_engines/"$INSTANCE"/livy/batches -H 'content-type: application/json' -H "Authorization: Bearer $TOKEN"
}

delete() {
curl \
-H "Authorization: Bearer $TOKEN" \
-H 'Content-Type: application/json' \
-X DELETE "$API"/v3/analytics_engines/"$INSTANCE"/livy/batches/"$BATCH"
}

delete_with_headers() {
curl -i -X DELETE "$API"/v3/analytics_engines/"$INSTANCE"/livy/batches/"$BATCH" -H 'content-type: application/json' -H "Authorization: Bearer $TOKEN"
}
