import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.io.PrintStream;
import java.io.OutputStream;
import java.lang.reflect.Method;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeSet;

/** Runs spark-submit again and again in one JVM, which takes most of its time to start. Called by record.py. */
public class Submit {
  /** {@code Submit CASES RESULT}: CASES has the arguments of spark-submit by name, RESULT gets what became of each. */
  public static void main(String[] args) throws Exception {
    ObjectMapper json = new ObjectMapper();
    Map<String, String> errors = new LinkedHashMap<>();
    for (Object entry : json.readValue(new File(args[0]), LinkedHashMap.class).entrySet()) {
      Map.Entry<?, ?> one = (Map.Entry<?, ?>) entry;
      String[] arguments = ((java.util.List<?>) one.getValue()).stream().map(Object::toString).toArray(String[]::new);
      try {
        new org.apache.spark.deploy.SparkSubmit().doSubmit(arguments);
      } catch (Throwable error) {
        errors.put(one.getKey().toString(), String.valueOf(error.getMessage()));
      }
    }
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("version", org.apache.spark.package$.MODULE$.SPARK_VERSION());
    result.put("errors", errors);
    result.put("keys", keys());
    json.writerWithDefaultPrettyPrinter().writeValue(new File(args[1]), result);
    System.exit(0);
  }

  /** The conf keys, and the prefixes of some, that Spark on Kubernetes has. */
  static TreeSet<String> keys() throws Exception {
    TreeSet<String> keys = new TreeSet<>();
    Object config = Class.forName("org.apache.spark.deploy.k8s.Config$").getField("MODULE$").get(null);
    for (Method method : config.getClass().getMethods()) {
      if (method.getParameterCount() == 0 && method.getReturnType() == String.class) {
        String text = (String) method.invoke(config);
        if (text.startsWith("spark.kubernetes.")) keys.add(text);
      } else if (method.getParameterCount() == 0 && method.getReturnType().getName().endsWith("ConfigEntry")) {
        Object entry = method.invoke(config);
        keys.add((String) entry.getClass().getMethod("key").invoke(entry));
      }
    }
    return keys;
  }
}
