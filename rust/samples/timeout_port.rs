// SPDX-License-Identifier: GPL-2.0

//! A BSD driver's watchdog, ported line by line: the C stands above each line of Rust.

use softclock::{
    prelude::*,
    timeout::{Handle, Table},
};

module! {
    type: Module,
    name: "timeout_port",
    authors: ["softclock maintainers"],
    description: "softclock sample: timeout(9) and untimeout(9)",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
}

// static void mydev_watchdog(void *arg) {
fn mydev_watchdog(unit: usize) {
    // printf("mydev%d: watchdog timeout\n", unit);
    pr_info!("mydev{}: watchdog timeout\n", unit);
    // }
}

// struct mydev_softc {
struct Module {
    // The kernel's callout table, which was one for all; here a driver has its own. Giant is held.
    table: Table,
    // struct callout_handle sc_ch;
    sc_ch: Handle,
    // };
}

impl kernel::Module for Module {
    // mydev_attach(...)
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let table = Table::with_giant(softclock::owner!(), c"mydev", 4)?;
        // callout_handle_init(&sc->sc_ch);
        let mut sc_ch = Handle::INITIALIZER;
        // untimeout(mydev_watchdog, sc, sc->sc_ch);
        table.untimeout(mydev_watchdog, 0, sc_ch);
        // sc->sc_ch = timeout(mydev_watchdog, sc, hz / 10);
        sc_ch = table.timeout(mydev_watchdog, 0, table.hz() / 10)?;
        // sc1->sc_ch = timeout(mydev_watchdog, sc1, 10 * hz);
        table.timeout(mydev_watchdog, 1, 10 * table.hz())?;
        Ok(Self { table, sc_ch })
    }
}

impl Drop for Module {
    // mydev_detach(...)
    fn drop(&mut self) {
        // untimeout(mydev_watchdog, sc, sc->sc_ch);
        let answer = self.table.untimeout(mydev_watchdog, 0, self.sc_ch);
        // In C nobody could know:
        pr_info!("mydev0: {:?}\n", answer);
    }
}
