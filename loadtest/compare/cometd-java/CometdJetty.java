import org.cometd.server.http.jakarta.CometDServlet;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;

/** CometD's servlet on Jetty, with long polling. Its first line of output is its URL. */
public final class CometdJetty {
    private CometdJetty() {
    }

    public static void main(String[] words) throws Exception {
        Server server = new Server();
        ServerConnector connector = new ServerConnector(server);
        connector.setHost("127.0.0.1");
        connector.setPort(0);
        connector.setAcceptQueueSize(65535);
        // Jetty would close a connection 30 s after its last byte.
        connector.setIdleTimeout(600_000);
        server.addConnector(connector);

        ServletHolder cometd = new ServletHolder(new CometDServlet());
        // Polls are held for its default of 30 s.
        cometd.setInitParameter("timeout", "30000");
        cometd.setAsyncSupported(true);
        cometd.setInitOrder(1);
        ServletContextHandler context = new ServletContextHandler("/");
        context.addServlet(cometd, "/cometd/*");
        server.setHandler(context);

        server.start();
        System.out.println("http://127.0.0.1:" + connector.getLocalPort() + "/cometd");
        server.join();
    }
}
