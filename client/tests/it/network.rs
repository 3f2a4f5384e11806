//! A network that breaks on command: a TCP relay that cuts connections after so many bytes.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// Which way bytes are counted towards a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToNode,
    FromNode,
}

#[derive(Clone)]
pub struct Network(Arc<Shared>);

struct Shared {
    address: SocketAddr,
    /// The next cuts: a way and after how many bytes of a connection.
    cuts: Mutex<Vec<(Way, usize)>>,
    down: AtomicBool,
    refused: AtomicU32,
    turned_away: Notify,
}

impl Network {
    pub async fn to(node: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let network = Self(Arc::new(Shared {
            address: listener.local_addr().unwrap(),
            cuts: Mutex::default(),
            down: AtomicBool::new(false),
            refused: AtomicU32::new(0),
            turned_away: Notify::new(),
        }));
        let relay = network.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if relay.0.down.load(Ordering::SeqCst) {
                    relay.0.refused.fetch_add(1, Ordering::SeqCst);
                    relay.0.turned_away.notify_one();
                    continue;
                }
                let relay = relay.clone();
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(node).await {
                        relay.carry(client, server).await;
                    }
                });
            }
        });
        network
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.0.address)
    }

    /// Cuts connections one after the other, each once so many bytes went that way.
    pub fn cut_after(&self, way: Way, bytes: &[usize]) {
        let cuts = bytes.iter().map(|b| (way, *b)).rev();
        self.0.cuts.lock().unwrap().extend(cuts);
    }

    pub fn cuts_left(&self) -> usize {
        self.0.cuts.lock().unwrap().len()
    }

    pub fn set_down(&self, down: bool) {
        self.0.down.store(down, Ordering::SeqCst);
    }

    /// Waits until so many connections were turned away.
    pub async fn turned_away(&self, count: u32) {
        while self.0.refused.load(Ordering::SeqCst) < count {
            self.0.turned_away.notified().await;
        }
    }

    async fn carry(&self, client: TcpStream, server: TcpStream) {
        let (mut client_in, mut client_out) = client.into_split();
        let (mut server_in, mut server_out) = server.into_split();
        let up = self.copy(&mut client_in, &mut server_out, Way::ToNode);
        let down = self.copy(&mut server_in, &mut client_out, Way::FromNode);
        // Whichever ends first ends both: a cut is a cut.
        tokio::select! { () = up => {}, () = down => {} }
    }

    async fn copy(
        &self,
        from: &mut (impl AsyncReadExt + Unpin),
        to: &mut (impl AsyncWriteExt + Unpin),
        way: Way,
    ) {
        let mut carried = 0;
        let mut buffer = vec![0; 16 << 10];
        while let Ok(n) = from.read(&mut buffer).await {
            if n == 0 || to.write_all(&buffer[..n]).await.is_err() {
                return;
            }
            carried += n;
            let mut cuts = self.0.cuts.lock().unwrap();
            if cuts
                .last()
                .is_some_and(|(w, after)| *w == way && carried >= *after)
            {
                cuts.pop();
                return;
            }
        }
    }
}
