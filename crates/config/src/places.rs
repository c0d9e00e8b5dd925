//! A configuration without the places it was written at.

use crate::model::*;

impl Config {
    /// Forgets where everything was written. What is left of two configurations is equal when
    /// they mean the same, which is what a reload asks to find out what it can keep. Errors can
    /// no longer be given their place.
    #[must_use]
    pub fn without_places(mut self) -> Self {
        forget(self.access_log.span.as_mut());
        forget(self.admin.as_mut().map(|admin| &mut admin.span));
        self.sites.iter_mut().for_each(Site::forget_places);
        self.upstreams.iter_mut().for_each(Upstream::forget_places);
        for set in &mut self.users {
            forget([&mut set.span]);
            forget(set.users.iter_mut().map(|user| &mut user.span));
            forget(set.files.iter_mut().map(|file| &mut file.span));
        }
        for forward in &mut self.forwards {
            forget([&mut forward.span]);
            forward.tls.iter_mut().for_each(SiteTls::forget_places);
            for rule in &mut forward.rules {
                forget([&mut rule.span]);
                forget(rule.targets.iter_mut().filter_map(|target| match target {
                    TargetPattern::List(file) => Some(&mut file.span),
                    _ => None,
                }));
            }
        }
        for tunnel in &mut self.tunnels {
            forget([&mut tunnel.span]);
            tunnel.tls.iter_mut().for_each(SiteTls::forget_places);
        }
        self
    }
}

impl Site {
    fn forget_places(&mut self) {
        forget([&mut self.span]);
        self.tls.iter_mut().for_each(SiteTls::forget_places);
        self.gate.forget_places();
        forget_pages(&mut self.error_pages);
        for route in &mut self.routes {
            forget([&mut route.span]);
            route.gate.forget_places();
            forget_pages(&mut route.error_pages);
        }
    }
}

impl Gate {
    fn forget_places(&mut self) {
        forget(self.rates.iter_mut().map(|rate| &mut rate.span));
        forget(self.basic.as_mut().map(|basic| &mut basic.span));
        forget(self.forward_auth.as_mut().map(|auth| &mut auth.span));
    }
}

impl SiteTls {
    fn forget_places(&mut self) {
        forget([&mut self.span]);
        self.certificates.iter_mut().for_each(CertificateFiles::forget_places);
        if let ClientAuth::Optional { ca } | ClientAuth::Required { ca } = &mut self.client_auth {
            forget([&mut ca.span]);
        }
    }
}

impl CertificateFiles {
    fn forget_places(&mut self) {
        forget([&mut self.cert.span, &mut self.key.span]);
    }
}

impl Upstream {
    fn forget_places(&mut self) {
        forget([&mut self.span]);
        forget(self.servers.iter_mut().map(|server| &mut server.span));
        forget(self.tls.ca.as_mut().map(|ca| &mut ca.span));
        self.tls.client.iter_mut().for_each(CertificateFiles::forget_places);
        forget(self.health.as_mut().map(|health| &mut health.span));
        forget(self.retry.span.as_mut());
    }
}

fn forget_pages(pages: &mut [ErrorPage]) {
    forget(pages.iter_mut().filter_map(|page| match &mut page.body {
        PageBody::File(file) => Some(&mut file.span),
        PageBody::Text(_) => None,
    }));
}

fn forget<'a>(spans: impl IntoIterator<Item = &'a mut Span>) {
    for span in spans {
        *span = Span::from((0, 0));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Moves everything, and looks for what still tells it.
    #[test]
    fn no_place_is_left() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/valid");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "kdl") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let parse = |text: &str| crate::parse("test", text, Path::new("")).unwrap();
            let (here, moved) = (parse(&text), parse(&format!("// moved\n{text}")));
            assert_ne!(here, moved, "{}", path.display());
            assert_eq!(here.without_places(), moved.without_places(), "{}", path.display());
            seen += 1;
        }
        assert!(seen > 2, "{seen} files");
    }
}
