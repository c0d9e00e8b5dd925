// java THIS-FILE.java URL...       (Java 11 or later)
import java.net.Authenticator;
import java.net.InetSocketAddress;
import java.net.PasswordAuthentication;
import java.net.ProxySelector;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

public class Get {
    public static void main(String[] urls) throws Exception {
        // Else Java shows no password to a proxy that it tunnels through. It has to be said
        // before the first client is made, here or with -D.
        System.setProperty("jdk.http.auth.tunneling.disabledSchemes", "");
        Authenticator credentials = new Authenticator() {
            @Override
            protected PasswordAuthentication getPasswordAuthentication() {
                if (getRequestorType() != RequestorType.PROXY) {
                    return null;
                }
                return new PasswordAuthentication(<<NAME>>, <<PASSWORD>>.toCharArray());
            }
        };
        HttpClient client = HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1)
            .proxy(ProxySelector.of(new InetSocketAddress(<<HOST>>, <<PORT>>)))
            .authenticator(credentials)
            .build();
        for (String url : urls) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(url)).build();
            HttpResponse<String> response =
                client.send(request, HttpResponse.BodyHandlers.ofString());
            if (response.statusCode() >= 400) {
                throw new Exception(response.statusCode() + " " + url);
            }
            System.out.print(response.body());
        }
    }
}
